// The thinnest shim over libcrypto: one-shot digests that Swift can call without opaque contexts.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Writes 32 bytes.
void cc_sha256(const void *_Nullable bytes, size_t count, uint8_t *_Nonnull out32);
/// Writes 20 bytes.
void cc_sha1(const void *_Nullable bytes, size_t count, uint8_t *_Nonnull out20);
/// bits: 256, 384 or 512; writes bits / 8 bytes. Returns 1, or 0 when OpenSSL failed.
int cc_hmac(int bits, const void *_Nonnull key, size_t key_count,
            const void *_Nullable bytes, size_t count, uint8_t *_Nonnull out64);
/// Constant-time comparison; 1 when equal.
int cc_equal(const void *_Nonnull a, const void *_Nonnull b, size_t count);

/// A public key that signatures of tokens are verified with. Immutable; any thread may use it.
typedef struct cc_key cc_key;
enum { CC_KEY_RSA = 1, CC_KEY_P256, CC_KEY_ED25519 };
/// Why a text holds no usable key.
enum { CC_KEYS_FINE = 0, CC_KEYS_NONE, CC_KEYS_PRIVATE, CC_KEYS_UNKNOWN, CC_KEYS_WEAK, CC_KEYS_MANY };

/// Reads the PEM blocks of a text (PUBLIC KEY, RSA PUBLIC KEY, CERTIFICATE; other text between them is
/// skipped): RSA from 2048 to 8192 bits, P-256, Ed25519. Returns how many keys were written to `keys`,
/// which the caller frees; 0 with the reason in `fault`.
size_t cc_keys_from_pem(const void *_Nonnull bytes, size_t count, cc_key *_Nullable *_Nonnull keys, size_t max,
                        int *_Nonnull fault);
/// From the big-endian numbers of a JSON Web Key (RFC 7518 section 6, RFC 8037); NULL when they are no such key.
cc_key *_Nullable cc_key_from_rsa(const void *_Nonnull n, size_t n_count, const void *_Nonnull e, size_t e_count);
cc_key *_Nullable cc_key_from_p256(const void *_Nonnull x32, const void *_Nonnull y32);
cc_key *_Nullable cc_key_from_ed25519(const void *_Nonnull x32);
/// One of CC_KEY_...
int cc_key_kind(const cc_key *_Nonnull key);
void cc_key_free(cc_key *_Nonnull key);
/// RS256, ES256 (r and s, 32 bytes each: RFC 7518 section 3.4) or EdDSA, by the key's kind; 1 when it verifies.
int cc_key_verify(const cc_key *_Nonnull key, const void *_Nullable bytes, size_t count,
                  const void *_Nullable signature, size_t signature_count);
