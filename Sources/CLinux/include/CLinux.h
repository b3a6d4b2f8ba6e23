// What `import Glibc` lacks: epoll with plain integers, eventfd, accept4, thread pinning,
// and the few vector instructions that Swift's SIMD types compile badly.
// No _GNU_SOURCE here: it would change fd_set under other modules (link-time clash).
#pragma once
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct {
    uint64_t token;
    uint32_t events;
} cl_event;

int cl_epoll_create(void);
/// operation: 1 add, 2 delete, 3 modify. Returns 0 or -errno.
int cl_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token);
/// Waits for at most `nanoseconds` (UINT64_MAX: for ever). Returns a count or -errno.
int cl_epoll_wait(int epoll, cl_event *_Nonnull out, int capacity, uint64_t nanoseconds);
int cl_eventfd(void);
int cl_accept(int listener);
/// A listening TCP socket with SO_REUSEPORT; port 0 takes a free one. Returns a descriptor or -errno.
int cl_listen(const char *_Nonnull host, uint16_t port, int backlog);
int cl_local_port(int fd);
/// The peer's address: 16 bytes, IPv4 mapped into IPv6. Returns 0 or -errno.
int cl_peer_address(int fd, uint8_t *_Nonnull out16);
void cl_no_delay(int fd);
/// One sendmsg with MSG_NOSIGNAL. Returns bytes or -errno.
long cl_send_vector(int fd, const struct iovec *_Nonnull vectors, int count);
long cl_receive(int fd, void *_Nonnull buffer, size_t capacity);
long cl_read_counter(int fd);
int cl_ring_bell(int fd);
/// Blocks until the descriptor is readable; milliseconds < 0: for ever. 1 readable, 0 time is up.
int cl_wait_readable(int fd, int milliseconds);
/// Opens (or makes) the file and takes its exclusive lock. Returns the descriptor or -errno (EWOULDBLOCK: held).
int cl_lock_file(const char *_Nonnull path);
int cl_pin_self(int cpu);
int cl_processor_count(void);
void cl_name_self(const char *_Nonnull name);
/// The calling thread runs only when nothing else wants to (SCHED_IDLE), or as it did before. Returns 0 or -errno.
int cl_run_idle(int idle);
/// Takes a thread that runs idle back to the usual policy.
int cl_run_usually(int thread);
int cl_thread_id(void);
/// Processor time that the calling thread has used.
uint64_t cl_thread_cpu_nanoseconds(void);
uint64_t cl_monotonic_nanoseconds(void);
uint64_t cl_realtime_milliseconds(void);
int cl_raise_descriptor_limit(void);
int cl_random(void *_Nonnull out, size_t count);
/// Resident set in bytes; user and system CPU time in microseconds; open descriptors; threads.
typedef struct { uint64_t resident, virtual_size, user_us, system_us, descriptors, descriptors_max, threads; } cl_process_stats;
cl_process_stats cl_process(void);
/// Blocks these signals for the calling thread and those it starts: INT, TERM, HUP. SIGPIPE is ignored.
void cl_block_signals(void);
/// Waits for one of them, for so long at the most; returns its number, or 0 when the time is up.
int cl_wait_signal(uint64_t milliseconds);
/// For commands, which have one thread: from now on INT and TERM only set what the next tells.
void cl_catch_interrupts(void);
int cl_was_interrupted(void);
/// Writing to who is gone fails with EPIPE, and does not end the process.
void cl_ignore_broken_pipes(void);
/// Ends early at a signal.
void cl_sleep(uint64_t milliseconds);

static inline void cl_pause(void) { __builtin_ia32_pause(); }

/// A bit per byte of the 16 that equal `byte`. SSE2 is the x86-64 baseline.
static inline uint32_t cl_equal_mask16(const void *_Nonnull p, uint8_t byte) {
    return (uint32_t)_mm_movemask_epi8(
        _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8((char)byte)));
}

/// A bit per byte of the 16 that must be escaped in a JSON string: below 0x20, '"' or '\\'.
static inline uint32_t cl_json_escape_mask16(const void *_Nonnull p) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));
}

/// A bit per byte of the 16 that has its top bit set (not ASCII).
static inline uint32_t cl_high_mask16(const void *_Nonnull p) {
    return (uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)p));
}

/// A bit per byte of the 16 that may not stand in a header value: controls but HTAB, and DEL.
static inline uint32_t cl_control_mask16(const void *_Nonnull p) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}

/// XORs `count` bytes in place with the repeated 4-byte mask, 16 at a time.
static inline void cl_xor_mask(uint8_t *_Nonnull p, size_t count, uint32_t mask) {
    __m128i m = _mm_set1_epi32((int)mask);
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(p + i + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(p + i + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(p + i + 48));
        _mm_storeu_si128((__m128i *)(p + i), _mm_xor_si128(a, m));
        _mm_storeu_si128((__m128i *)(p + i + 16), _mm_xor_si128(b, m));
        _mm_storeu_si128((__m128i *)(p + i + 32), _mm_xor_si128(c, m));
        _mm_storeu_si128((__m128i *)(p + i + 48), _mm_xor_si128(d, m));
    }
    for (; i + 16 <= count; i += 16)
        _mm_storeu_si128((__m128i *)(p + i), _mm_xor_si128(_mm_loadu_si128((const __m128i *)(p + i)), m));
    for (; i < count; i++) p[i] ^= (uint8_t)(mask >> (8 * (i & 3)));
}
