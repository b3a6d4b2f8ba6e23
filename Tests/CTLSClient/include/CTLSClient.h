// The other end for tests of TLS: OpenSSL as a client that is driven by hand, and certificates made
// on the spot.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct ctlsc_identity ctlsc_identity;
/// A P-256 key and its certificate for `name`, signed by the issuer or, with NULL, by itself.
ctlsc_identity *_Nonnull ctlsc_identity_new(const char *_Nonnull name, ctlsc_identity *_Nullable issuer);
void ctlsc_identity_free(ctlsc_identity *_Nonnull identity);
/// PEM. 1 when written. A passphrase other than NULL encrypts the key.
int ctlsc_write_certificate(ctlsc_identity *_Nonnull identity, const char *_Nonnull path);
int ctlsc_write_key(ctlsc_identity *_Nonnull identity, const char *_Nonnull path, const char *_Nullable passphrase);

typedef struct ctlsc_client ctlsc_client;
/// version: 0x0303 or 0x0304, and no other. ALPN in its wire form; 0 bytes: none is sent.
ctlsc_client *_Nonnull ctlsc_client_new(int version, const void *_Nullable alpn, size_t alpn_count,
                                        ctlsc_identity *_Nullable identity);
void ctlsc_client_free(ctlsc_client *_Nonnull client);
/// Ciphertext from the server, and for it.
void ctlsc_give(ctlsc_client *_Nonnull client, const void *_Nullable bytes, size_t count);
long ctlsc_take(ctlsc_client *_Nonnull client, void *_Nonnull bytes, size_t capacity);
/// Plaintext bytes; 0: none yet; -1: failed; -2: close_notify came.
long ctlsc_read(ctlsc_client *_Nonnull client, void *_Nonnull bytes, size_t capacity);
/// 1 when encrypted. Goes on with the handshake first.
int ctlsc_write(ctlsc_client *_Nonnull client, const void *_Nonnull bytes, size_t count);
void ctlsc_close(ctlsc_client *_Nonnull client);
/// TLS 1.3: new keys for this direction, and the same asked of the server.
int ctlsc_update_keys(ctlsc_client *_Nonnull client);
/// TLS 1.2: asks for another handshake on the same connection.
int ctlsc_renegotiate(ctlsc_client *_Nonnull client);
int ctlsc_is_established(ctlsc_client *_Nonnull client);
int ctlsc_is_resumed(ctlsc_client *_Nonnull client);
/// The last alert that came from the server, as its number; -1: none.
int ctlsc_alert(ctlsc_client *_Nonnull client);
/// The protocol that the server chose is `http/1.1`.
int ctlsc_chose_http(ctlsc_client *_Nonnull client);
/// The next handshake of `client` offers the last session of `earlier`. 1 when there is one.
int ctlsc_resume(ctlsc_client *_Nonnull client, ctlsc_client *_Nonnull earlier);
