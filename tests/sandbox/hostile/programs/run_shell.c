// expect: exit
// tries: starts another program
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

int main(void) {
    execl("/bin/sh", "sh", "-c", "exit 42", (char *)NULL);
    execl("/usr/bin/su", "su", (char *)NULL);
    execl("/usr/bin/python3", "python3", (char *)NULL);
    return 1;
}
