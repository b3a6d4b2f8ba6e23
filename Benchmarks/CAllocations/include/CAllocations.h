#ifndef C_ALLOCATIONS_H
#define C_ALLOCATIONS_H

/// How often this thread has asked for memory: malloc, calloc, realloc and the aligned ones. Linking
/// this target puts its functions before the C library's.
unsigned long ca_allocation_count(void);

#endif
