#include "CCrypto.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

void cc_sha256(const void *bytes, size_t count, uint8_t *out32) { SHA256(bytes, count, out32); }
void cc_sha1(const void *bytes, size_t count, uint8_t *out20) { SHA1(bytes, count, out20); }
int cc_hmac(int bits, const void *key, size_t key_count, const void *bytes, size_t count, uint8_t *out64) {
    const EVP_MD *digest = bits == 256 ? EVP_sha256() : bits == 384 ? EVP_sha384() : EVP_sha512();
    unsigned int written = 0;
    return HMAC(digest, key, (int)key_count, bytes, count, out64, &written) && written == (unsigned)bits / 8;
}
int cc_equal(const void *a, const void *b, size_t count) { return CRYPTO_memcmp(a, b, count) == 0; }
