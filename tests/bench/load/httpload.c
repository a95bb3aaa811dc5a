/* httpload: many HTTP/1.1 clients in one thread; downloads go into nowhere, the kernel discards them.
 *
 * httpload -s ADDRESS [-f FROM] [-p PORT] -u PATH [-c CONNECTIONS] [-d SECONDS] [-r FIRST-LAST] [-k]
 *
 * Without -k each connection asks once (Connection: close) and is opened anew: downloads. With -k it stays and
 * asks again as soon as its answer is whole: requests. A status of 400 and above, a broken length or a closed
 * connection is a failure. Prints one JSON object: ok, failed, bytes, rate (MB/s), answers (per second), first
 * and worst (ms to the first octet of the answer, median and most), whole (s, the longest answer), busy (our own
 * CPU per second: near 1 the client is what is measured).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 4096, EVENTS = 256, SAMPLES = 1 << 20, PIECE = 4 << 20 };

typedef struct {
    int fd, length; /* of the head so far */
    bool body;
    long left;
    double asked;
    char head[HEAD];
} Connection;

static struct sockaddr_in server, from;
static const char *path = "/", *range;
static int connections = 1, epoll;
static bool keep;
static double seconds = 3;
static char request[1024];
static int request_length;
static long ok, failed;
static unsigned long long bytes;
static float *firsts;
static long samples;
static double longest;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void ask(Connection *c)
{
    c->length = 0;
    c->body = false;
    c->left = 0;
    c->asked = now();
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) != request_length)
        failed++;
}

static void start(Connection *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (from.sin_family && bind(c->fd, (struct sockaddr *)&from, sizeof from)) {
        perror("bind");
        exit(1);
    }
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server)) {
        perror("connect");
        exit(1);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    ask(c);
}

static void again(Connection *c, bool whole)
{
    double took = now() - c->asked;
    if (whole && took > longest)
        longest = took;
    whole ? ok++ : failed++;
    if (whole && keep) {
        ask(c);
        return;
    }
    close(c->fd);
    start(c);
}

/* The head is peeked at first, so that the body can be discarded by the kernel. False: wait for more. */
static bool head(Connection *c)
{
    long got = recv(c->fd, c->head, HEAD - 1, MSG_PEEK | MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            again(c, false);
        return false;
    }
    c->head[got] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        if (got == HEAD - 1)
            again(c, false);
        return false;
    }
    char *field = strcasestr(c->head, "\ncontent-length:");
    if (recv(c->fd, c->head, end + 4 - c->head, 0) < 0 || atoi(c->head + 9) >= 400 || !field || field > end) {
        again(c, false);
        return false;
    }
    c->left = atol(field + 16);
    c->body = true;
    if (samples < SAMPLES)
        firsts[samples++] = (now() - c->asked) * 1e3;
    return true;
}

static void readable(Connection *c)
{
    static char nowhere[1];
    if (!c->body && !head(c))
        return;
    while (c->left) {
        long got = recv(c->fd, nowhere, c->left < PIECE ? c->left : PIECE, MSG_TRUNC | MSG_DONTWAIT);
        if (got <= 0) {
            if (got == 0 || errno != EAGAIN)
                again(c, false);
            return;
        }
        bytes += got;
        c->left -= got;
    }
    again(c, true);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int count, char **words)
{
    int option;
    server.sin_family = AF_INET;
    server.sin_port = htons(80);
    while ((option = getopt(count, words, "s:f:p:u:c:d:r:k")) > 0)
        switch (option) {
        case 's': inet_pton(AF_INET, optarg, &server.sin_addr); break;
        case 'f': from.sin_family = AF_INET, inet_pton(AF_INET, optarg, &from.sin_addr); break;
        case 'p': server.sin_port = htons(atoi(optarg)); break;
        case 'u': path = optarg; break;
        case 'c': connections = atoi(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'r': range = optarg; break;
        case 'k': keep = true; break;
        default: return 2;
        }
    request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: bench\r\n%s%s%s%s\r\n", path,
        keep ? "" : "Connection: close\r\n", range ? "Range: bytes=" : "", range ? range : "", range ? "\r\n" : "");
    firsts = malloc(SAMPLES * sizeof *firsts);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    double began = now();
    Connection *all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++)
        start(&all[i]);
    struct epoll_event events[EVENTS];
    while (now() - began < seconds) {
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++)
            readable(events[i].data.ptr);
    }
    double took = now() - began;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
    qsort(firsts, samples, sizeof *firsts, ascending);
    printf("{\"ok\": %ld, \"failed\": %ld, \"bytes\": %llu, \"rate\": %.3f, \"answers\": %.1f, \"first\": %.3f, "
           "\"worst\": %.3f, \"whole\": %.3f, \"busy\": %.3f}\n",
        ok, failed, bytes, bytes / took / 1e6, ok / took, samples ? firsts[samples / 2] : 0.0,
        samples ? firsts[samples - 1] : 0.0, longest, cpu / took);
    return 0;
}
