/* sha256.c - see sha256.h. OpenSSL fails here for want of memory only, which ends the process. */
#include "common/base/sha256.h"

#include <openssl/evp.h>

struct sha256 {
    EVP_MD_CTX *context; /* owned */
};

struct sha256 *sha256_new(void)
{
    struct sha256 *sum = xalloc(sizeof(*sum));

    sum->context = EVP_MD_CTX_new();
    must(sum->context != NULL);
    must(EVP_DigestInit_ex(sum->context, EVP_sha256(), NULL) == 1);
    return sum;
}

void sha256_free(struct sha256 *sum)
{
    if (sum == NULL)
        return;
    EVP_MD_CTX_free(sum->context);
    free(sum);
}

void sha256_add(struct sha256 *sum, struct slice bytes)
{
    must(EVP_DigestUpdate(sum->context, bytes.data, bytes.size) == 1);
}

void sha256_end(struct sha256 *sum, uint8_t hash[SHA256_BYTES])
{
    must(EVP_DigestFinal_ex(sum->context, hash, NULL) == 1);
    must(EVP_DigestInit_ex(sum->context, EVP_sha256(), NULL) == 1);
}
