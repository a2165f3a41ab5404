/*
 * pem_fuzz.c - any bytes as a certificate file, a trust file and a key file, in plain or locked.
 * What parses is described, asked about hosts and judged as a chain.
 */
#include "common/base/limits.h"
#include "common/tls/ossl.h"
#include "common/tls/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = slice_of(data, bytes);
    struct x509_list list;
    EVP_PKEY *key;
    bool locked;
    struct err err = ERR_INIT;

    if (bytes > PEM_FILE_MAX_BYTES)
        return 0;
    if (x509_list_parse("fuzz", text, false, &list, &err) == 0) {
        for (size_t i = 0; i < list.count && i < 8; i++) {
            struct x509_info info;

            x509_describe(list.items[i], &info);
            (void)x509_fits_host(list.items[i], "localhost");
            (void)x509_fits_host(list.items[i], "127.0.0.1");
            x509_info_free(&info);
        }
        (void)!x509_chain_check(&list, &list, X509_SERVER, &err);
        x509_list_free(&list);
    }
    if (x509_list_parse("fuzz", text, true, &list, &err) == 0)
        x509_list_free(&list);
    if (ossl_key("fuzz", text, &key, &err) == 0)
        EVP_PKEY_free(key);
    if (ossl_key_open("fuzz", text, NULL, &key, &locked, &err) == 0)
        EVP_PKEY_free(key);
    if (ossl_key_open("fuzz", text, "fuzz", &key, &locked, &err) == 0)
        EVP_PKEY_free(key);
    return 0;
}
