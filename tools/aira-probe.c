/* tools/aira-probe.c - loads one plugin file and tells its parent what happened; see core/plugin/probe.h.
 *
 * Started by the host only: aira-probe FILE, with a socket as descriptor 3. Everything that the file does happens after
 * the nonce was read and the limits were set.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/plugin/helper.h"
#include "core/plugin/probe.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_MEMORY 0 /* shadow memory counts as data */
#else
#define LIMIT_MEMORY 1
#endif

static int set_limit(int what, rlim_t soft, rlim_t hard) {
    struct rlimit limit = {soft, hard};
    return setrlimit(what, &limit);
}

/* 0, or -1 when a limit could not be set: then nothing is loaded. */
static int confine(void) {
    int bad = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    bad |= prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0);
    bad |= set_limit(RLIMIT_CPU, AIRA__PROBE_CPU_SECONDS, AIRA__PROBE_CPU_SECONDS + 1);
    bad |= set_limit(RLIMIT_CORE, 0, 0);
    bad |= set_limit(RLIMIT_FSIZE, 0, 0);
    bad |= set_limit(RLIMIT_NOFILE, 64, 64);
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) /* a sanitizer's handlers would make them exits */
        bad |= signal(crashes[i], SIG_DFL) == SIG_ERR;
    if (LIMIT_MEMORY) bad |= set_limit(RLIMIT_DATA, (rlim_t)1 << 30, (rlim_t)1 << 30);
    return bad == 0 ? 0 : -1;
}

int main(int argc, char **argv) {
    char answer[AIRA__PROBE_NONCE + 1 + 1024];
    size_t n = 0;
    if (argc != 2) {
        fputs("usage: aira-probe FILE; started by aira to check a plugin, with a socket as descriptor 3\n", stderr);
        return 2;
    }
    while (n < AIRA__PROBE_NONCE) {
        ssize_t got = recv(AIRA__HELPER_SOCKET, answer + n, AIRA__PROBE_NONCE - n, 0);
        if (got <= 0) return 3;
        n += (size_t)got;
    }
    if (confine() != 0) return 4;
    aira_error error = {0};
    aira_status status = aira__probe_judge(argv[1], &error);
    answer[n++] = status == AIRA_OK ? 'g' : status == AIRA_E_IO || status == AIRA_E_MEMORY ? 'm' : 'b';
    if (status != AIRA_OK) n += (size_t)snprintf(answer + n, sizeof answer - n, "%.1000s", error.text);
    return send(AIRA__HELPER_SOCKET, answer, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : 5;
}
