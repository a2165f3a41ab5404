/* password.c - see password.h. */
#include "etcd-ctl/password.h"

#include <stdio.h>
#include <termios.h>
#include <unistd.h>

char *password_ask(const char *prompt)
{
    struct termios before, quiet;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    if (prompt != NULL)
        (void)fputs(prompt, stdout);
    (void)fflush(stdout);
    if (terminal) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    length = getline(&line, &room, stdin);
    if (terminal)
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    if (terminal || prompt != NULL)
        (void)fputc('\n', stdout); /* what is printed next begins a line, also in a pipe */
    (void)fflush(stdout);
    if (length > 0 && line[length - 1] == '\n')
        line[length - 1] = '\0';
    if (length < 0) {
        free(line);
        line = xstrdup("");
    }
    return line;
}
