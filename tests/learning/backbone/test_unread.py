"""Layers that do not read a subspace."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from exchange_models import FAMILIES, small

from elsa_sim.learning.backbone.options import Part
from elsa_sim.learning.backbone.unread import leave_unread
