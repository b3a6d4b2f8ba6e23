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
