#include "CTLSClient.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ctlsc_identity { EVP_PKEY *key; X509 *certificate; };

struct ctlsc_client {
    SSL_CTX *context;
    SSL *session;
    BIO *in, *out; // the session's
    SSL_SESSION *last;
    int alert;
};

static void extend(X509 *certificate, int id, const char *value) {
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, id, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

ctlsc_identity *ctlsc_identity_new(const char *name, ctlsc_identity *issuer) {
    static long serial = 1;
    ctlsc_identity *made = calloc(1, sizeof *made);
    made->key = EVP_EC_gen("P-256");
    X509 *c = made->certificate = X509_new();
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED));
    X509_gmtime_adj(X509_getm_notBefore(c), -3600);
    X509_gmtime_adj(X509_getm_notAfter(c), 86400);
    X509_set_pubkey(c, made->key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(c, X509_get_subject_name(issuer ? issuer->certificate : c));
    if (!issuer) extend(c, NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(c, issuer ? issuer->key : made->key, EVP_sha256());
    return made;
}

void ctlsc_identity_free(ctlsc_identity *identity) {
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    free(identity);
}

int ctlsc_write_certificate(ctlsc_identity *identity, const char *path) {
    FILE *file = fopen(path, "w");
    return file && PEM_write_X509(file, identity->certificate) && fclose(file) == 0;
}

int ctlsc_write_key(ctlsc_identity *identity, const char *path, const char *passphrase) {
    FILE *file = fopen(path, "w");
    return file && PEM_write_PrivateKey(file, identity->key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                                        (void *)passphrase) && fclose(file) == 0;
}

static int remember(SSL *session, SSL_SESSION *ticket) {
    ctlsc_client *client = SSL_get_app_data(session);
    SSL_SESSION_free(client->last);
    client->last = ticket;
    return 1;
}

static void note(const SSL *session, int where, int value) {
    ctlsc_client *client = SSL_get_app_data(session);
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT) client->alert = value & 0xff;
}

ctlsc_client *ctlsc_client_new(int version, const void *alpn, size_t alpn_count, ctlsc_identity *identity) {
    ctlsc_client *made = calloc(1, sizeof *made);
    made->alert = -1;
    SSL_CTX *c = made->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(c, version);
    SSL_CTX_set_max_proto_version(c, version);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c, remember);
    if (identity) {
        SSL_CTX_use_certificate(c, identity->certificate);
        SSL_CTX_use_PrivateKey(c, identity->key);
    }
    made->session = SSL_new(c);
    SSL_set_app_data(made->session, made);
    SSL_set_info_callback(made->session, note);
    if (alpn_count) SSL_set_alpn_protos(made->session, alpn, (unsigned)alpn_count);
    made->in = BIO_new(BIO_s_mem());
    made->out = BIO_new(BIO_s_mem());
    SSL_set_bio(made->session, made->in, made->out);
    SSL_set_connect_state(made->session);
    return made;
}

void ctlsc_client_free(ctlsc_client *client) {
    SSL_SESSION_free(client->last);
    SSL_free(client->session);
    SSL_CTX_free(client->context);
    free(client);
}

void ctlsc_give(ctlsc_client *client, const void *bytes, size_t count) {
    if (count) BIO_write(client->in, bytes, (int)count);
}

long ctlsc_take(ctlsc_client *client, void *bytes, size_t capacity) {
    int count = BIO_read(client->out, bytes, (int)capacity);
    return count > 0 ? count : 0;
}

long ctlsc_read(ctlsc_client *client, void *bytes, size_t capacity) {
    size_t count = 0;
    ERR_clear_error();
    if (SSL_read_ex(client->session, bytes, capacity, &count) == 1) return (long)count;
    switch (SSL_get_error(client->session, 0)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_ZERO_RETURN: return -2;
    default: return -1;
    }
}

int ctlsc_write(ctlsc_client *client, const void *bytes, size_t count) {
    size_t written = 0;
    ERR_clear_error();
    return SSL_write_ex(client->session, bytes, count, &written) == 1 && written == count;
}

void ctlsc_close(ctlsc_client *client) { ERR_clear_error(); SSL_shutdown(client->session); }
int ctlsc_update_keys(ctlsc_client *client) {
    return SSL_key_update(client->session, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(client->session) == 1;
}
int ctlsc_renegotiate(ctlsc_client *client) {
    ERR_clear_error();
    return SSL_renegotiate(client->session) == 1 && SSL_do_handshake(client->session) == 1;
}
int ctlsc_is_established(ctlsc_client *client) { return SSL_is_init_finished(client->session); }
int ctlsc_is_resumed(ctlsc_client *client) { return SSL_session_reused(client->session); }
int ctlsc_alert(ctlsc_client *client) { return client->alert; }
int ctlsc_chose_http(ctlsc_client *client) {
    const unsigned char *chosen = NULL;
    unsigned count = 0;
    SSL_get0_alpn_selected(client->session, &chosen, &count);
    return count == 8 && memcmp(chosen, "http/1.1", 8) == 0;
}
int ctlsc_resume(ctlsc_client *client, ctlsc_client *earlier) {
    return earlier->last && SSL_set_session(client->session, earlier->last) == 1;
}
