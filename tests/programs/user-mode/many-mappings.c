// A process whose pages lie in memory one by one: after a fork the child writes every second page, so that no two neighbours
// are neighbours in RAM. A host that is shown this page by page runs out of mappings (vm.max_map_count, 65 530).

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 72000 };

static long sum(const volatile char *memory) {
    long sum = 0;
    for (long page = 0; page < PAGES; page++)
        sum += memory[page * PAGE];
    return sum;
}

int main(void) {
    char *memory = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    for (long page = 0; page < PAGES; page++)
        memory[page * PAGE] = 1;
    pid_t child = fork();
    if (child == 0) {
        for (long page = 0; page < PAGES; page += 2)
            memory[page * PAGE] = 2;
        _exit(sum(memory) == PAGES / 2 * 3 ? 0 : 1);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) {
        printf("the child ended with status %#x\n", status);
        return 1;
    }
    printf(sum(memory) == PAGES ? "all pages hold\n" : "the parent's pages have changed\n");
    return 0;
}
