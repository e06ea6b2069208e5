// expect: exit
// tries: reads a file of labels by its path
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

int main(int n, char **a) { return n > 1 && open(a[1], O_RDONLY) >= 0 ? 42 : 1; }
