/* csr_fuzz.c - any bytes as a signing request; what passes the checks is written again. */
#include "common/base/limits.h"
#include "common/tls/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct buf out = BUF_INIT(BUF_UNLIMITED);
    struct x509_csr *csr;
    struct err err = ERR_INIT;

    if (bytes > PEM_FILE_MAX_BYTES || x509_csr_parse("fuzz", slice_of(data, bytes), &csr, &err) < 0)
        return 0;
    x509_csr_pem(csr, &out);
    must(x509_csr_sans(csr)->dns_count <= CERT_SANS_MAX);
    buf_free(&out);
    x509_csr_free(csr);
    return 0;
}
