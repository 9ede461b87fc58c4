/* Links with a rate, a queue and a delay, in user space: every host is a network namespace with a TUN device, and this
 * process holds all of them. A packet passes the ports of its route; a port has a rate, a drop-tail queue in bytes (what is
 * being sent counts) and a one-way delay. On a link a packet has FRAMING bytes more than its IP packet: Ethernet's header.
 *
 * Times within the network are exact: a packet enters a port when it left the last one, whenever this process was
 * scheduled. Only reading from and writing to a device is late; how late (wake-ups and deliveries) it says on demand.
 *
 * Standard input, as lines:  host NAMESPACE DEVICE | port RATE_BPS QUEUE_BYTES DELAY_S (rate 0: no limit)
 *                            route SRC DST PORT...  | go
 * Host i has the address a.b.0.(1 + i). Answers "ready" when the devices are there. After "go" it emulates until its
 * input ends, and answers every line with its statistics since the last, as JSON. Needs root. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HOSTS = 64, PORTS = 256, HOPS = 16, MTU = 2048, FRAMING = 14, TURN = 32 };

typedef struct packet {
    double due; /* when it leaves the port it is in (its link's delay included), s */
    uint64_t order;
    int length, hop;
    unsigned char src, dst;
    struct packet *next;
    unsigned char bytes[MTU];
} packet;

typedef struct { double rate, queue, delay, free_at; long drops, packets; } port;
typedef struct { int hops, ports[HOPS]; } route;

static port ports[PORTS];
static route routes[HOSTS][HOSTS];
static int hosts, nports, devices[HOSTS];
static packet *pool, **heap;
static size_t held, room;
static uint64_t arrivals;
static struct { long packets, wakes; double late, late_max, wake, wake_max; } stats;

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int before(const packet *a, const packet *b) { return a->due < b->due || (a->due == b->due && a->order < b->order); }

static void push(packet *p) {
    if (held == room) {
        room = room ? 2 * room : 1024;
        if (!(heap = realloc(heap, room * sizeof *heap))) die("memory");
    }
    size_t i = held++;
    p->order = arrivals++;
    for (; i && before(p, heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = p;
}

static packet *pop(void) {
    packet *first = heap[0], *last = heap[--held];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < held; i = child) {
        if (child + 1 < held && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return first;
}

static packet *fresh(void) {
    packet *p = pool;
    if (p) pool = p->next;
    else if (!(p = malloc(sizeof *p))) die("memory");
    return p;
}

static void release(packet *p) { p->next = pool; pool = p; }

/* A packet enters the port of its hop at time t: it is queued, or dropped. */
static void enter(packet *p, double t) {
    port *q = &ports[routes[p->src][p->dst].ports[p->hop]];
    double size = p->length + FRAMING, backlog = q->free_at > t ? (q->free_at - t) * q->rate / 8 : 0;
    if (q->rate > 0 && backlog + size > q->queue) { q->drops++; release(p); return; }
    q->packets++;
    q->free_at = (q->free_at > t ? q->free_at : t) + (q->rate > 0 ? size * 8 / q->rate : 0);
    p->due = q->free_at + q->delay;
    push(p);
}

/* A packet leaves the link of its hop: into the next port, or to its host. */
static void leave(packet *p) {
    if (++p->hop < routes[p->src][p->dst].hops) { enter(p, p->due); return; }
    double late = now() - p->due;
    stats.packets++;
    stats.late += late;
    if (late > stats.late_max) stats.late_max = late;
    if (write(devices[p->dst], p->bytes, (size_t)p->length) < 0 && errno != EIO) perror("write");
    release(p);
}

static void read_device(int host) {
    for (int i = 0; i < TURN; i++) {
        packet *p = fresh();
        ssize_t n = read(devices[host], p->bytes, MTU);
        if (n <= 0) { release(p); return; }
        int dst = n >= 20 && p->bytes[0] >> 4 == 4 ? p->bytes[19] - 1 : -1;
        if (dst < 0 || dst >= hosts || !routes[host][dst].hops) { release(p); continue; }
        p->length = (int)n;
        p->src = (unsigned char)host;
        p->dst = (unsigned char)dst;
        p->hop = 0;
        enter(p, now());
    }
}

static void offload_off(int fd, const char *name, uint32_t command) {
    struct ethtool_value value = {.cmd = command, .data = 0};
    struct ifreq request = {0};
    strcpy(request.ifr_name, name); /* at most 15 letters, as read */
    request.ifr_data = (void *)&value;
    ioctl(fd, SIOCETHTOOL, &request); /* a device that has no such offload refuses, and needs nothing */
}

static int device(const char *space, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", space);
    int home = open("/proc/self/ns/net", O_RDONLY), there = open(path, O_RDONLY);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET)) die(path);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK), sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || sock < 0) die("/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, name); /* at most 15 letters, as read */
    if (ioctl(fd, TUNSETIFF, &request)) die("TUNSETIFF");
    offload_off(sock, name, ETHTOOL_STSO);
    offload_off(sock, name, ETHTOOL_SGSO);
    offload_off(sock, name, ETHTOOL_SGRO);
    if (setns(home, CLONE_NEWNET)) die("setns");
    close(home), close(there), close(sock);
    return fd;
}

static void configure(char *line) {
    char space[128], name[IFNAMSIZ];
    int src, dst, used, next;
    double rate, queue, delay;
    if (sscanf(line, "host %127s %15s", space, name) == 2 && hosts < HOSTS) devices[hosts++] = device(space, name);
    else if (sscanf(line, "port %lf %lf %lf", &rate, &queue, &delay) == 3 && nports < PORTS)
        ports[nports++] = (port){.rate = rate, .queue = queue, .delay = delay};
    else if (sscanf(line, "route %d %d%n", &src, &dst, &used) == 2 && src >= 0 && dst >= 0 && src < hosts && dst < hosts) {
        route *r = &routes[src][dst];
        for (line += used; r->hops < HOPS && sscanf(line, "%d%n", &next, &used) == 1; line += used) {
            if (next < 0 || next >= nports) { fprintf(stderr, "no port %d\n", next); exit(1); }
            r->ports[r->hops++] = next;
        }
    } else { fprintf(stderr, "not understood: %s", line); exit(1); }
}

static void report(void) {
    printf("{\"packets\": %ld, \"late_mean_s\": %.7f, \"late_max_s\": %.7f, \"wake_mean_s\": %.7f, \"wake_max_s\": %.7f, \"drops\": [",
           stats.packets, stats.packets ? stats.late / stats.packets : 0, stats.late_max,
           stats.wakes ? stats.wake / stats.wakes : 0, stats.wake_max);
    for (int i = 0; i < nports; i++) { printf(i ? ", %ld" : "%ld", ports[i].drops); ports[i].drops = 0; }
    printf("]}\n");
    fflush(stdout);
    memset(&stats, 0, sizeof stats);
}

static void emulate(void) {
    struct pollfd watched[HOSTS + 1];
    for (int i = 0; i < hosts; i++) watched[i] = (struct pollfd){.fd = devices[i], .events = POLLIN};
    watched[hosts] = (struct pollfd){.fd = 0, .events = POLLIN};
    for (;;) {
        while (held && heap[0]->due <= now()) leave(pop());
        double begin = now(), wait = held ? heap[0]->due - begin : 1e-3;
        wait = wait < 0 ? 0 : wait > 1e-3 ? 1e-3 : wait; /* never longer: how late this process wakes is measured all the time */
        struct timespec timeout = {.tv_nsec = (long)(wait * 1e9)};
        int ready = ppoll(watched, (nfds_t)hosts + 1, &timeout, NULL);
        if (!ready) {
            double late = now() - begin - wait;
            stats.wakes++;
            stats.wake += late;
            if (late > stats.wake_max) stats.wake_max = late;
            continue;
        }
        for (int i = 0; i < hosts; i++) if (watched[i].revents & POLLIN) read_device(i);
        if (watched[hosts].revents) {
            char line[256];
            ssize_t n = read(0, line, sizeof line);
            if (n <= 0) return;
            for (ssize_t i = 0; i < n; i++) if (line[i] == '\n') report();
        }
    }
}

int main(void) {
    static char line[4096];
    size_t n = 0;
    /* Unbuffered, so that what follows "go" is left for the emulation to poll. */
    for (ssize_t got; (got = read(0, line + n, 1)) == 1;) {
        if (line[n++] != '\n') { if (n >= sizeof line - 1) return 1; continue; }
        line[n] = 0, n = 0;
        if (!strcmp(line, "go\n")) break;
        configure(line);
    }
    struct sched_param first = {.sched_priority = 20};
    sched_setscheduler(0, SCHED_FIFO, &first); /* where it is not allowed, lateness tells */
    mlockall(MCL_CURRENT | MCL_FUTURE);
    prctl(PR_SET_TIMERSLACK, 1UL);
    printf("ready\n");
    fflush(stdout);
    emulate();
    return 0;
}
