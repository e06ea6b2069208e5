// expect: refused
// tries: reads another process' memory
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    char bytes[64];
    struct iovec to = {bytes, sizeof bytes}, from = {(void *)0x400000, sizeof bytes};
    return process_vm_readv(getppid(), &to, 1, &from, 1, 0) > 0 ? 42 : 1;
}
