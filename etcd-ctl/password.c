/*
 * password.c - see password.h. Signals that end the program wait until the terminal is as it was:
 * a shell that does not look after it would show nothing of what is typed next.
 */
#include "etcd-ctl/password.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

/* Those that would end the program: one that is ignored would be queued all the same, once it is
 * blocked, and then taken for the end. */
static void ending_signals(sigset_t *set)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

    (void)sigemptyset(set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action;

        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            (void)sigaddset(set, numbers[i]);
    }
}

/* A whole line is there, or a signal of the set came: its number, else 0. */
static int wait_for_line(const sigset_t *ending)
{
    int signals = signalfd(-1, ending, SFD_CLOEXEC), came = 0;
    struct pollfd wait[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                             {.fd = signals, .events = POLLIN}};
    struct signalfd_siginfo info;

    while (signals >= 0 && poll(wait, ARRAY_LEN(wait), -1) < 0)
        continue; /* stopped and continued by the shell */
    if (wait[1].revents != 0 && read(signals, &info, sizeof(info)) == sizeof(info))
        came = (int)info.ssi_signo;
    if (signals >= 0)
        (void)close(signals);
    return came;
}

/* A line of which nothing is shown; -1 at the end of the input. */
static ssize_t read_unseen(const struct termios *before, char **line, size_t *room)
{
    struct termios quiet = *before;
    sigset_t ending, old;
    ssize_t length = -1;
    int came;

    ending_signals(&ending);
    must(sigprocmask(SIG_BLOCK, &ending, &old) == 0);
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    came = wait_for_line(&ending);
    if (came == 0)
        length = getline(line, room, stdin);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, before);
    if (came != 0) {
        (void)fputc('\n', stdout);
        (void)fflush(stdout);
        (void)raise(came); /* the program ends of it when it is let through */
    }
    must(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    return length;
}

char *password_ask(const char *prompt)
{
    struct termios before;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    if (prompt != NULL)
        (void)fputs(prompt, stdout);
    (void)fflush(stdout);
    length = terminal ? read_unseen(&before, &line, &room) : getline(&line, &room, stdin);
    if (terminal || prompt != NULL)
        (void)fputc('\n', stdout); /* what is printed next begins a line, also in a pipe */
    (void)fflush(stdout);
    if (length > 0 && line[length - 1] == '\n')
        line[--length] = '\0';
    if (length > 0 && line[length - 1] == '\r')
        line[--length] = '\0';
    if (length < 0) {
        free(line);
        line = xstrdup("");
    }
    return line;
}
