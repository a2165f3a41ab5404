/* password.h (edge) - ask for a secret: not shown while it is typed on a terminal. Thread: main. */
#ifndef ETCD_CTL_PASSWORD_H
#define ETCD_CTL_PASSWORD_H

#include "common/base/base.h"

/*
 * Print `prompt` (NULL = none) on standard output and read one line from standard input, without
 * its line end. Owned by the caller, who wipes it; "" at the end of the input. A signal meanwhile
 * ends the program, with the terminal as it was, unless it is ignored.
 */
char *password_ask(const char *prompt) MUST_CHECK;

#endif
