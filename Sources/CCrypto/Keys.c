#include "CCrypto.h"
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

struct cc_key {
    EVP_PKEY *pkey;
    int kind;
};

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, P256_HALF = 32 };

static int kind_of(EVP_PKEY *pkey, int *fault) {
    *fault = CC_KEYS_UNKNOWN;
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        *fault = CC_KEYS_WEAK;
        int bits = EVP_PKEY_get_bits(pkey);
        return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX ? CC_KEY_RSA : 0;
    case EVP_PKEY_EC: {
        char group[32] = "";
        size_t written = 0;
        if (EVP_PKEY_get_group_name(pkey, group, sizeof group, &written) != 1) return 0;
        return strcmp(group, "prime256v1") == 0 ? CC_KEY_P256 : 0;
    }
    case EVP_PKEY_ED25519: return CC_KEY_ED25519;
    default: return 0;
    }
}

/// Takes the key over; frees it when it is of no use.
static cc_key *wrap(EVP_PKEY *pkey, int *fault) {
    *fault = CC_KEYS_UNKNOWN;
    if (!pkey) return NULL;
    int kind = kind_of(pkey, fault);
    cc_key *key = kind ? OPENSSL_malloc(sizeof *key) : NULL;
    if (!key) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    key->pkey = pkey;
    key->kind = kind;
    return key;
}

static EVP_PKEY *public_key(const char *name, const unsigned char *data, long count) {
    if (strcmp(name, PEM_STRING_PUBLIC) == 0) return d2i_PUBKEY(NULL, &data, count);
    if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0) return d2i_PublicKey(EVP_PKEY_RSA, NULL, &data, count);
    if (strcmp(name, PEM_STRING_X509) != 0) return NULL;
    X509 *certificate = d2i_X509(NULL, &data, count);
    EVP_PKEY *key = certificate ? X509_get_pubkey(certificate) : NULL;
    X509_free(certificate);
    return key;
}

size_t cc_keys_from_pem(const void *bytes, size_t count, cc_key **keys, size_t max, int *fault) {
    BIO *bio = BIO_new_mem_buf(bytes, (int)count);
    size_t found = 0;
    *fault = CC_KEYS_NONE;
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long length = 0;
    while (bio && PEM_read_bio(bio, &name, &header, &data, &length) == 1) {
        if (strstr(name, "PRIVATE KEY")) {
            *fault = CC_KEYS_PRIVATE;
        } else if (found == max) {
            *fault = CC_KEYS_MANY;
        } else {
            keys[found] = wrap(public_key(name, data, length), fault);
            if (keys[found]) {
                found++;
                *fault = CC_KEYS_FINE;
            }
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
        if (*fault != CC_KEYS_FINE) break;
    }
    BIO_free(bio);
    ERR_clear_error();
    if (*fault == CC_KEYS_FINE) return found;
    while (found > 0) cc_key_free(keys[--found]);
    return 0;
}

static cc_key *from_parameters(const char *type, OSSL_PARAM_BLD *builder) {
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    int fault;
    if (parameters && context && EVP_PKEY_fromdata_init(context) == 1)
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, parameters);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    ERR_clear_error();
    return wrap(pkey, &fault);
}

cc_key *cc_key_from_rsa(const void *n, size_t n_count, const void *e, size_t e_count) {
    if (n_count > RSA_BITS_MAX / 8 || e_count > 8) return NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn(n, (int)n_count, NULL);
    BIGNUM *exponent = BN_bin2bn(e, (int)e_count, NULL);
    cc_key *key = NULL;
    if (builder && modulus && exponent && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1
        && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = from_parameters("RSA", builder);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

cc_key *cc_key_from_p256(const void *x32, const void *y32) {
    unsigned char point[1 + 2 * P256_HALF] = {POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, x32, P256_HALF);
    memcpy(point + 1 + P256_HALF, y32, P256_HALF);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    cc_key *key = NULL;
    if (builder && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1
        && OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        key = from_parameters("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

cc_key *cc_key_from_ed25519(const void *x32) {
    int fault;
    return wrap(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x32, 32), &fault);
}

int cc_key_kind(const cc_key *key) { return key->kind; }

void cc_key_free(cc_key *key) {
    EVP_PKEY_free(key->pkey);
    OPENSSL_free(key);
}

static int verify(EVP_PKEY *pkey, const EVP_MD *digest, const void *bytes, size_t count, const void *signature,
                  size_t signature_count) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int verified = context && EVP_DigestVerifyInit(context, NULL, digest, NULL, pkey) == 1
                   && EVP_DigestVerify(context, signature, signature_count, bytes, count) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return verified;
}

/// OpenSSL wants the two numbers as DER.
static int verify_p256(EVP_PKEY *pkey, const void *bytes, size_t count, const unsigned char *pair) {
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(pair, P256_HALF, NULL), *s = BN_bin2bn(pair + P256_HALF, P256_HALF, NULL);
    int verified = 0;
    if (signature && r && s && ECDSA_SIG_set0(signature, r, s) == 1) {
        r = s = NULL;
        unsigned char *der = NULL;
        int length = i2d_ECDSA_SIG(signature, &der);
        if (length > 0) verified = verify(pkey, EVP_sha256(), bytes, count, der, (size_t)length);
        OPENSSL_free(der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(signature);
    return verified;
}

int cc_key_verify(const cc_key *key, const void *bytes, size_t count, const void *signature, size_t signature_count) {
    if (!signature || signature_count == 0) return 0;
    switch (key->kind) {
    case CC_KEY_P256: return signature_count == 2 * P256_HALF && verify_p256(key->pkey, bytes, count, signature);
    case CC_KEY_ED25519: return verify(key->pkey, NULL, bytes, count, signature, signature_count);
    default: return verify(key->pkey, EVP_sha256(), bytes, count, signature, signature_count);
    }
}
