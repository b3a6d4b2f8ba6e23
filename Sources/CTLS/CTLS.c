#define _DEFAULT_SOURCE // timegm
#include "CTLS.h"
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

// --- A BIO over the loop's window: memory to memory, no I/O, no buffer of its own.

static int window_read(BIO *bio, char *bytes, size_t capacity, size_t *count) {
    ctls_window *window = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *count = capacity < window->input_count ? capacity : window->input_count;
    if (*count == 0) { BIO_set_retry_read(bio); return 0; }
    memcpy(bytes, window->input, *count);
    window->input += *count;
    window->input_count -= *count;
    return 1;
}

static int window_write(BIO *bio, const char *bytes, size_t length, size_t *count) {
    ctls_window *window = BIO_get_data(bio);
    size_t room = window->output_capacity - window->output_count;
    BIO_clear_retry_flags(bio);
    *count = length < room ? length : room;
    if (*count == 0) { BIO_set_retry_write(bio); return 0; }
    memcpy(window->output + window->output_count, bytes, *count);
    window->output_count += *count;
    return 1;
}

static long window_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH; // nothing is held back, so every flush is done
}

// Made before main and never changed, so that cores need no lock for it.
static BIO_METHOD *window_method;
__attribute__((constructor)) static void make_window_method(void) {
    window_method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "window");
    if (!window_method) return;
    BIO_meth_set_read_ex(window_method, window_read);
    BIO_meth_set_write_ex(window_method, window_write);
    BIO_meth_set_ctrl(window_method, window_control);
}

// --- Contexts

// RFC 7301 3.2: without a protocol in common the handshake ends with no_application_protocol.
static int choose_protocol(SSL *session, const unsigned char **chosen, unsigned char *chosen_count,
                           const unsigned char *offered, unsigned int count, void *argument) {
    static const unsigned char ours[] = "http/1.1";
    (void)session, (void)argument;
    for (unsigned int at = 0; at < count && offered[at] < count - at; at += 1u + offered[at]) {
        if (offered[at] == 8 && memcmp(offered + at + 1, ours, 8) == 0) {
            *chosen = offered + at + 1;
            *chosen_count = 8;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// OpenSSL's own would ask for a passphrase on the terminal.
static int no_passphrase(char *bytes, int capacity, int is_writing, void *argument) {
    (void)bytes, (void)capacity, (void)is_writing, (void)argument;
    return -1;
}

static int set_policy(SSL_CTX *c) {
    static const unsigned char name[] = "chat-service";
    // Compression leaks lengths (CRIME), renegotiation is a cheap way to make us sign. Servers
    // choose, but a client that puts ChaCha first has no AES instructions and gets its wish.
    SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    // An idle connection gives its two record buffers (17 KiB each) back. The chain that is sent is
    // the file's: otherwise OpenSSL looks for one among the client authorities at each handshake.
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    // Tickets resume sessions, under keys of this context that all cores share. A cache would add a
    // lock and memory for clients that are older than tickets.
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    // The most that a client's certificates may make a handshake hold.
    SSL_CTX_set_max_cert_list(c, 32768);
    SSL_CTX_set_default_passwd_cb(c, no_passphrase);
    SSL_CTX_set_alpn_select_cb(c, choose_protocol, NULL);
    // TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 4.2).
    return SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) &&
           SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") &&
           SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                       "TLS_CHACHA20_POLY1305_SHA256") &&
           SSL_CTX_set1_groups_list(c, "X25519:P-256:P-384") &&
           SSL_CTX_set_session_id_context(c, name, sizeof name - 1);
}

static ctls_fault load(SSL_CTX *c, const char *certificate, const char *key, const char *client_ca) {
    if (SSL_CTX_use_certificate_chain_file(c, certificate) != 1) return CTLS_BAD_CERTIFICATE;
    if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1) {
        // The key may be sound, and another certificate's.
        int reason = ERR_GET_REASON(ERR_peek_last_error());
        return reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH
                   ? CTLS_BAD_PAIR : CTLS_BAD_KEY;
    }
    if (SSL_CTX_check_private_key(c) != 1) return CTLS_BAD_PAIR;
    if (!client_ca) return CTLS_FINE;
    if (SSL_CTX_load_verify_file(c, client_ca) != 1) return CTLS_BAD_CLIENT_CA;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(client_ca);
    if (!names) return CTLS_BAD_CLIENT_CA;
    SSL_CTX_set_client_CA_list(c, names);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return CTLS_FINE;
}

ctls_context *ctls_context_new(const char *certificate, const char *key, const char *client_ca,
                               ctls_fault *fault, unsigned long *error) {
    ERR_clear_error();
    *fault = CTLS_BAD_LIBRARY;
    SSL_CTX *c = window_method ? SSL_CTX_new(TLS_server_method()) : NULL;
    if (c && set_policy(c)) *fault = load(c, certificate, key, client_ca);
    // The oldest error is the cause; those after it say who was told.
    *error = *fault == CTLS_FINE ? 0 : ERR_peek_error();
    ERR_clear_error();
    if (*fault == CTLS_FINE) return c;
    SSL_CTX_free(c);
    return NULL;
}

void ctls_context_free(ctls_context *context) { SSL_CTX_free(context); }

int64_t ctls_context_expiry(ctls_context *context) {
    X509 *certificate = SSL_CTX_get0_certificate(context);
    struct tm time = {0};
    if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return 0;
    return (int64_t)timegm(&time);
}

// --- Sessions

ctls_session *ctls_session_new(ctls_context *context, ctls_window *window) {
    ERR_clear_error();
    SSL *session = SSL_new(context);
    BIO *bio = session ? BIO_new(window_method) : NULL;
    if (!bio) { SSL_free(session); return NULL; }
    BIO_set_data(bio, window);
    BIO_set_init(bio, 1);
    SSL_set_bio(session, bio, bio);
    SSL_set_accept_state(session);
    return session;
}

void ctls_session_free(ctls_session *session) { SSL_free(session); }

// Of a call that brought no bytes. The thread's error queue was empty before the call, so what is
// in it now belongs to this session and to no other of the same loop.
static long outcome(SSL *session, ctls_window *window) {
    switch (SSL_get_error(session, 0)) {
    case SSL_ERROR_WANT_READ: return CTLS_WAITS;
    case SSL_ERROR_WANT_WRITE: return CTLS_FULL;
    case SSL_ERROR_ZERO_RETURN: return CTLS_CLOSED;
    default: break;
    }
    window->error = ERR_peek_error();
    ERR_clear_error();
    return ERR_GET_LIB(window->error) == ERR_LIB_SSL && ERR_GET_REASON(window->error) == SSL_R_HTTP_REQUEST
               ? CTLS_PLAIN_HTTP : CTLS_FAILED;
}

long ctls_read(ctls_session *session, ctls_window *window, void *bytes, size_t capacity) {
    size_t count = 0;
    ERR_clear_error();
    return SSL_read_ex(session, bytes, capacity, &count) == 1 ? (long)count : outcome(session, window);
}

long ctls_write(ctls_session *session, ctls_window *window, const void *bytes, size_t count) {
    size_t written = 0;
    ERR_clear_error();
    return SSL_write_ex(session, bytes, count, &written) == 1 ? (long)written : outcome(session, window);
}

void ctls_close(ctls_session *session) {
    ERR_clear_error();
    SSL_shutdown(session);
    ERR_clear_error();
}

int ctls_is_established(const ctls_session *session) { return SSL_is_init_finished(session); }
int ctls_is_resumed(const ctls_session *session) { return SSL_session_reused(session); }

const char *ctls_reason(unsigned long error) {
    const char *text = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);
    return text ? text : error ? "unknown reason" : "no reason given";
}
