/* SPDX-License-Identifier: MIT */
#include "attack_disk.h"
#include "test.h"

/* registers */
#define REG_CONTROL  0x14
#define REG_STATUS   0x1c
#define REG_SIZES    0x24
#define REG_COMMANDS 0x28
#define REG_DONE     0x30
#define REG_DOORBELL 0x1000 /* of the admin queue's commands; 4 bytes further: of its completions */
#define IS_READY     1u
#define ENABLE       0x00460001u /* commands of 64 bytes, completions of 16 */

#define ADMIN_ENTRIES 16u
#define ADMIN_SQ      DISK_QUEUES
#define ADMIN_CQ      (DISK_QUEUES + 0x1000u)
#define SQ            (DISK_QUEUES + 0x2000u)
#define CQ            DISK_COMPLETIONS
#define ENTRIES       64u

struct command {
    uint32_t head, space, reserved[2];
    uint64_t metadata, prp[2];
    uint32_t words[6]; /* CDW10 and on */
};
_Static_assert(sizeof(struct command) == 64, "NVMe 1.4, 4.2");

#define OPCODE_CREATE_SQ 0x01u
#define OPCODE_CREATE_CQ 0x05u
#define OPCODE_IDENTIFY  0x06u
#define OPCODE_READ      0x02u
#define PHASE            (1u << 16)

bool disk_start(struct disk *n, struct forward *d)
{
    const struct script_op ops[] = {
        DO_WRITE(32, FORWARD_BAR + REG_CONTROL, 0),
        DO_AWAIT(FORWARD_BAR + REG_STATUS, IS_READY, 0),
        DO_WRITE(32, FORWARD_BAR + REG_SIZES, (ADMIN_ENTRIES - 1) << 16 | (ADMIN_ENTRIES - 1)),
        DO_WRITE(64, FORWARD_BAR + REG_COMMANDS, ADMIN_SQ),
        DO_WRITE(64, FORWARD_BAR + REG_DONE, ADMIN_CQ),
        DO_WRITE(32, FORWARD_BAR + REG_CONTROL, ENABLE),
        DO_AWAIT(FORWARD_BAR + REG_STATUS, IS_READY, IS_READY),
    };

    *n = (struct disk){.d = d};
    memset(vm_at(d->vm, DISK_QUEUES), 0, DISK_DATA - DISK_QUEUES);
    return forward_do(d, ops, COUNT(ops));
}

/* One round of the queue is enough for everybody. */
static bool admin(struct disk *n, const struct command *c)
{
    struct command *at = (struct command *)vm_at(n->d->vm, ADMIN_SQ) + n->tail;
    uint32_t done = ADMIN_CQ + 16 * n->tail + 12;
    const struct script_op ops[] = {
        DO_WRITE(32, FORWARD_BAR + REG_DOORBELL, n->tail + 1),
        DO_AWAIT(done, PHASE, PHASE),
        DO_WRITE(32, FORWARD_BAR + REG_DOORBELL + 4, n->tail + 1),
    };

    if (!EXPECT(n->tail + 1 < ADMIN_ENTRIES))
        return false;
    *at = *c;
    at->head |= n->tail << 16;
    n->tail++;
    return forward_do(n->d, ops, COUNT(ops)) && EXPECT_EQ(*vm_u32(n->d->vm, done) >> 17, 0);
}

bool disk_identify(struct disk *n, uint64_t to)
{
    const struct command c = {.head = OPCODE_IDENTIFY, .prp = {to}, .words = {1}};

    return admin(n, &c);
}

#define IS_IN_ONE_PIECE 1u
#define INTERRUPTS      2u
#define BLOCK           512u
#define READ_SIZE       0x2000u /* two pages */

static void fill(struct vm *vm)
{
    struct command *commands = vm_at(vm, SQ);

    for (uint32_t i = 0; i < ENTRIES; i++) {
        uint64_t to = DISK_DATA + i * READ_SIZE % DISK_DATA_SIZE;

        commands[i] = (struct command){
            .head = i << 16 | OPCODE_READ,
            .space = 1,
            .prp = {to, to + READ_SIZE / 2},
            .words = {i * READ_SIZE / BLOCK, 0, READ_SIZE / BLOCK - 1},
        };
    }
}

bool disk_prepare_storm(struct disk *n, uint32_t interrupt)
{
    const struct command cq = {
        .head = OPCODE_CREATE_CQ,
        .prp = {CQ},
        .words = {(ENTRIES - 1) << 16 | 1, interrupt << 16 | INTERRUPTS | IS_IN_ONE_PIECE},
    };
    const struct command sq = {
        .head = OPCODE_CREATE_SQ,
        .prp = {SQ},
        .words = {(ENTRIES - 1) << 16 | 1, 1 << 16 | IS_IN_ONE_PIECE},
    };

    fill(n->d->vm);
    return admin(n, &cq) && admin(n, &sq);
}

void disk_storm(struct disk *n, const char *code)
{
    struct vm *vm = n->d->vm;

    if (!vm_load(vm, code))
        return;
    vm_set(vm, WHvX64RegisterRdi, FORWARD_BAR);
    vm_set(vm, WHvX64RegisterRsi, DISK_COMPLETIONS);
    vm_set(vm, WHvX64RegisterRbx, ENTRIES - 1);
}
