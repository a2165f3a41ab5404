/*
 * scan.h (edge) - what is in a directory: its certificates, who issued them, whose keys are there.
 * Reads only. Thread: main. Errors: ERR_IO; what a certificate lacks is its entry's `error`.
 */
#ifndef ETCD_PKI_SCAN_H
#define ETCD_PKI_SCAN_H

#include "etcd-pki/pki.h"

struct entry {  /* a certificate with its file; all owned but `ca` and `same_as` */
    char *base; /* below the directory, without extension */
    char *path;
    char *name;  /* kubeadm's, or the base */
    char *error; /* it cannot be read: why; then nothing below is set */
    bool missing;
    struct x509_list chain;
    struct x509_info info;
    bool kubeconfig, key_there;
    bool key_fits;   /* or it is locked and nobody gave the passphrase: then it counts as fitting */
    bool key_locked; /* ... and that is so */
    char *key_error; /* it cannot be read: why */
    const struct entry *ca;      /* who issued it, if that is here; itself for a CA */
    const struct entry *same_as; /* whose file this is, by a symbolic link; NULL: its own */
    bool link;
    uint64_t device, inode; /* of the file itself */
};
struct scan {
    const char *dir;
    const char *passphrase; /* of CA keys; borrowed, or NULL */
    struct entry *items;    /* sorted by base */
    size_t count;
};
/*
 * Names below `root` that end in `extension`, in readdir's order; dot files are passed over. Links
 * to directories are followed, each directory is entered once.
 */
int scan_find(const char *root, const char *extension, struct texts *found,
              struct err *err) MUST_CHECK;
/* Every .crt below `dir`, and the issuers among them. */
int scan_directory(const char *dir, const char *passphrase, struct scan *scan,
                   struct err *err) MUST_CHECK;
/* Add one file, a kubeconfig too; an absent one is added as missing. base NULL: `path` itself. */
void scan_add(struct scan *scan, const char *base, const char *path);
void scan_sort(struct scan *scan);                                   /* and find who issued what */
struct entry *scan_named(const struct scan *scan, const char *name); /* name or base; NULL: none */
void scan_free(struct scan *scan);

#endif
