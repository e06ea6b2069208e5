// expect: exit
// tries: writes into the folder of the journal
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
    char path[4096];
    snprintf(path, sizeof path, "%s/journal.sqlite", n > 2 ? a[2] : "/tmp/none");
    int file = open(path, O_WRONLY | O_CREAT, 0666);
    return file >= 0 && write(file, "x", 1) == 1 ? 42 : 1;
}
