// expect: exit
// tries: climbs out of its folder
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

int main(int n, char **a) {
    char path[4096] = "/box";
    for (int k = 0; k < 20; k++) strcat(path, "/..");
    if (n > 1) strcat(path, a[1]);
    return open(path, O_RDONLY) >= 0 ? 42 : 1;
}
