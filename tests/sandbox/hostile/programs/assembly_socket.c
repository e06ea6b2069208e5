// expect: refused
// tries: makes a socket in assembly
// on: x86_64

int main(void) {
    long result = 41;
    __asm__ volatile("syscall" : "+a"(result) : "D"(2L), "S"(1L), "d"(0L) : "rcx", "r11", "memory");
    return result >= 0 ? 42 : 1;
}
