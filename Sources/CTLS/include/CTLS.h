// The thinnest shim over libssl: a server context from PEM files, and sessions that do no I/O.
// Its types are OpenSSL's own, so that nothing is wrapped twice.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct ssl_ctx_st ctls_context; // SSL_CTX
typedef struct ssl_st ctls_session;     // SSL

/// What a loop lends to whichever of its sessions it is calling: ciphertext that has arrived, and
/// room for ciphertext to be sent. A session takes from `input` and adds to `output`.
typedef struct {
    const uint8_t *_Nullable input;
    size_t input_count;
    uint8_t *_Nonnull output;
    size_t output_count, output_capacity;
    /// OpenSSL's code for the last failure, for ctls_reason.
    unsigned long error;
} ctls_window;

/// Which file a context could not be made from.
typedef enum {
    CTLS_FINE = 0, CTLS_BAD_LIBRARY, CTLS_BAD_CERTIFICATE, CTLS_BAD_KEY, CTLS_BAD_PAIR, CTLS_BAD_CLIENT_CA
} ctls_fault;

/// A context for servers; client_ca NULL: no client certificate is asked for.
/// NULL on failure, with what failed and OpenSSL's code.
ctls_context *_Nullable ctls_context_new(const char *_Nonnull certificate, const char *_Nonnull key,
                                         const char *_Nullable client_ca,
                                         ctls_fault *_Nonnull fault, unsigned long *_Nonnull error);
void ctls_context_free(ctls_context *_Nonnull context);
/// When the certificate expires, in seconds since 1970; 0 when it cannot be told.
int64_t ctls_context_expiry(ctls_context *_Nonnull context);

/// A session that waits for a ClientHello. The window must outlive every call that is made with it.
ctls_session *_Nullable ctls_session_new(ctls_context *_Nonnull context, ctls_window *_Nonnull window);
void ctls_session_free(ctls_session *_Nonnull session);

// What a read or write comes to when it brings no bytes.
enum {
    CTLS_WAITS = 0,       // all ciphertext was taken; more is needed
    CTLS_FULL = -1,       // no room for ciphertext: empty `output` and call again
    CTLS_CLOSED = -2,     // the peer's close_notify came
    CTLS_FAILED = -3,     // fatal; the alert, if there is one, stands in `output`
    CTLS_PLAIN_HTTP = -4, // the peer's first bytes are an HTTP request
};
/// Goes on with the handshake, then decrypts. Returns plaintext bytes, or one of the above.
long ctls_read(ctls_session *_Nonnull session, ctls_window *_Nonnull window,
               void *_Nonnull bytes, size_t capacity);
/// Encrypts all of the bytes, at most one record's worth. Returns them, or one of the above.
long ctls_write(ctls_session *_Nonnull session, ctls_window *_Nonnull window,
                const void *_Nonnull bytes, size_t count);
/// Adds close_notify to `output`.
void ctls_close(ctls_session *_Nonnull session);

int ctls_is_established(const ctls_session *_Nonnull session);
int ctls_is_resumed(const ctls_session *_Nonnull session);
/// A text of OpenSSL's (or the system's) for the code, or a stand-in; never freed.
const char *_Nonnull ctls_reason(unsigned long error);
