// expect: exit
// tries: reads a secret of its parents' environment
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(void) {
    for (char **e = environ; *e != NULL; e++)
        if (strstr(*e, "SECRET") != NULL || strstr(*e, "KEY") != NULL) return 42;
    return 1;
}
