// expect: refused
// tries: changes the clock that measures it
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) { return settimeofday(&(struct timeval){0, 0}, NULL) >= 0 ? 42 : 1; }
