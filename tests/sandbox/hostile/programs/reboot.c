// expect: refused
// tries: stops the machine
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

int main(void) { return syscall(__NR_reboot, 0xfee1dead, 672274793, 0x4321fedc, NULL) >= 0 ? 42 : 1; }
