// expect: refused
// tries: mounts a file system
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) { return mount("none", "/tmp", "tmpfs", 0, NULL) >= 0 ? 42 : 1; }
