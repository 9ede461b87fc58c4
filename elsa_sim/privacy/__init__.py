"""What an honest-but-curious edge server learns from the hidden states it is sent: attacks, and how well they do."""
