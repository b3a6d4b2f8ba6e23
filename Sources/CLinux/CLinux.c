#define _GNU_SOURCE
#include "CLinux.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <poll.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

int cl_epoll_create(void) { int r = epoll_create1(EPOLL_CLOEXEC); return r < 0 ? -errno : r; }

int cl_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event e = {.events = events, .data.u64 = token};
    return epoll_ctl(epoll, operation, fd, &e) < 0 ? -errno : 0;
}

int cl_epoll_wait(int epoll, cl_event *out, int capacity, uint64_t nanoseconds) {
    struct epoll_event events[256];
    if (capacity > 256) capacity = 256;
    int timeout = nanoseconds == UINT64_MAX ? -1 : (int)((nanoseconds + 999999) / 1000000);
    int n = epoll_wait(epoll, events, capacity, timeout);
    if (n < 0) return -errno;
    for (int i = 0; i < n; i++) { out[i].token = events[i].data.u64; out[i].events = events[i].events; }
    return n;
}

int cl_eventfd(void) { int r = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); return r < 0 ? -errno : r; }
int cl_accept(int listener) {
    int r = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return r < 0 ? -errno : r;
}

int cl_listen(const char *host, uint16_t port, int backlog) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &list) != 0 || !list) return -EADDRNOTAVAIL;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, result = 0;
    if (fd < 0) { freeaddrinfo(list); return -errno; }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // inherited by accepted sockets
    // What the kernel takes before it is sent: a reader that stalls holds this much of its memory, not megabytes.
    int unsent = 131072;
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent); // inherited too
    if (bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, backlog) < 0) result = -errno;
    freeaddrinfo(list);
    if (result < 0) { close(fd); return result; }
    return fd;
}

int cl_local_port(int fd) {
    struct sockaddr_storage a; socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0) return -errno;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

int cl_peer_address(int fd, uint8_t *out16) {
    struct sockaddr_storage a; socklen_t n = sizeof a;
    memset(out16, 0, 16);
    if (getpeername(fd, (struct sockaddr *)&a, &n) < 0) return -errno;
    if (a.ss_family == AF_INET6) memcpy(out16, &((struct sockaddr_in6 *)&a)->sin6_addr, 16);
    else { out16[10] = out16[11] = 0xff; memcpy(out16 + 12, &((struct sockaddr_in *)&a)->sin_addr, 4); }
    return 0;
}

void cl_no_delay(int fd) { int one = 1; setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); }

long cl_send_vector(int fd, const struct iovec *vectors, int count) {
    struct msghdr m = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count};
    ssize_t n = count == 1 ? send(fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                           : sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}
long cl_receive(int fd, void *buffer, size_t capacity) {
    ssize_t n = recv(fd, buffer, capacity, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}
long cl_read_counter(int fd) { uint64_t v; ssize_t n = read(fd, &v, sizeof v); return n < 0 ? -errno : (long)v; }
int cl_ring_bell(int fd) { uint64_t one = 1; return write(fd, &one, sizeof one) < 0 ? -errno : 0; }

int cl_wait_readable(int fd, int milliseconds) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, milliseconds) > 0;
}
int cl_lock_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) { int e = errno; close(fd); return -e; }
    return fd;
}

int cl_pin_self(int cpu) {
    cpu_set_t s; CPU_ZERO(&s); CPU_SET(cpu, &s);
    return -pthread_setaffinity_np(pthread_self(), sizeof s, &s);
}
int cl_processor_count(void) {
    cpu_set_t s;
    return sched_getaffinity(0, sizeof s, &s) < 0 ? 1 : CPU_COUNT(&s);
}
int cl_run_idle(int idle) {
    static _Thread_local int usual = -1;
    struct sched_param none = {0};
    if (usual < 0) {
        usual = sched_getscheduler(0);
        // A real-time policy is somebody's decision: it stays.
        if (usual != SCHED_OTHER && usual != SCHED_BATCH) usual = SCHED_RR;
    }
    if (usual == SCHED_RR) return 0;
    return sched_setscheduler(0, idle ? SCHED_IDLE : usual, &none) < 0 ? -errno : 0;
}

int cl_run_usually(int thread) {
    struct sched_param none = {0};
    if (sched_getscheduler(thread) != SCHED_IDLE) return 0;
    return sched_setscheduler(thread, SCHED_OTHER, &none) < 0 ? -errno : 0;
}

int cl_thread_id(void) { return (int)gettid(); }

uint64_t cl_thread_cpu_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void cl_name_self(const char *name) { pthread_setname_np(pthread_self(), name); }

uint64_t cl_monotonic_nanoseconds(void) {
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
uint64_t cl_realtime_milliseconds(void) {
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}
int cl_raise_descriptor_limit(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0) return -errno;
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
    getrlimit(RLIMIT_NOFILE, &l);
    return l.rlim_cur > 1u << 30 ? 1 << 30 : (int)l.rlim_cur;
}
int cl_random(void *out, size_t count) {
    uint8_t *p = out;
    while (count) {
        ssize_t n = getrandom(p, count, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -errno;
        p += n; count -= (size_t)n;
    }
    return 0;
}

cl_process_stats cl_process(void) {
    cl_process_stats s = {0};
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long total = 0, resident = 0;
    if (f) { if (fscanf(f, "%lu %lu", &total, &resident) != 2) total = resident = 0; fclose(f); }
    s.virtual_size = total * (uint64_t)sysconf(_SC_PAGESIZE);
    s.resident = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    struct rusage u; getrusage(RUSAGE_SELF, &u);
    s.user_us = (uint64_t)u.ru_utime.tv_sec * 1000000u + (uint64_t)u.ru_utime.tv_usec;
    s.system_us = (uint64_t)u.ru_stime.tv_sec * 1000000u + (uint64_t)u.ru_stime.tv_usec;
    DIR *d = opendir("/proc/self/fd");
    if (d) { while (readdir(d)) s.descriptors++; closedir(d); s.descriptors = s.descriptors > 3 ? s.descriptors - 3 : 0; }
    d = opendir("/proc/self/task");
    if (d) { while (readdir(d)) s.threads++; closedir(d); s.threads = s.threads > 2 ? s.threads - 2 : 1; }
    struct rlimit l; getrlimit(RLIMIT_NOFILE, &l);
    s.descriptors_max = l.rlim_cur;
    return s;
}

static void waited(sigset_t *s) { sigemptyset(s); sigaddset(s, SIGINT); sigaddset(s, SIGTERM); sigaddset(s, SIGHUP); }
void cl_block_signals(void) {
    sigset_t s; waited(&s);
    pthread_sigmask(SIG_BLOCK, &s, NULL);
    signal(SIGPIPE, SIG_IGN);
}
int cl_wait_signal(uint64_t milliseconds) {
    sigset_t s; waited(&s);
    uint64_t end = cl_monotonic_nanoseconds() + milliseconds * 1000000u;
    for (;;) {
        uint64_t now = cl_monotonic_nanoseconds(), rest = now < end ? end - now : 0;
        struct timespec t = { (time_t)(rest / 1000000000u), (long)(rest % 1000000000u) };
        int number = sigtimedwait(&s, NULL, &t);
        if (number > 0) return number;
        if (errno == EAGAIN) return 0;
    }
}

static volatile sig_atomic_t interrupted;
static void interrupt(int number) { (void)number; interrupted = 1; }
void cl_catch_interrupts(void) {
    struct sigaction a = { .sa_handler = interrupt };
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}
int cl_was_interrupted(void) { return interrupted; }
void cl_ignore_broken_pipes(void) { signal(SIGPIPE, SIG_IGN); }
void cl_sleep(uint64_t milliseconds) {
    struct timespec t = { (time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000 };
    nanosleep(&t, NULL);
}
