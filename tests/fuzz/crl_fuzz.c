/* crl_fuzz.c - any bytes as a revocation list, DER or PEM; what parses is walked. */
#include "common/base/limits.h"
#include "common/tls/ossl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    STACK_OF(X509_CRL) * crls;
    struct err err = ERR_INIT;

    if (bytes > PEM_FILE_MAX_BYTES || ossl_crls("fuzz", slice_of(data, bytes), &crls, &err) < 0)
        return 0;
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        X509_CRL *crl = sk_X509_CRL_value(crls, i);
        char *issuer = ossl_name(X509_CRL_get_issuer(crl));
        const STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(crl);

        for (int k = 0; k < sk_X509_REVOKED_num(revoked); k++) {
            char serial[OSSL_SERIAL_TEXT], when[OSSL_TIME_TEXT];
            const X509_REVOKED *entry = sk_X509_REVOKED_value(revoked, k);

            ossl_serial(X509_REVOKED_get0_serialNumber(entry), serial);
            ossl_time(X509_REVOKED_get0_revocationDate(entry), when);
        }
        free(issuer);
    }
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    return 0;
}
