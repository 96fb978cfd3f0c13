/* SPDX-License-Identifier: MIT */
/*
 * Their side: libunicorn on the fake memory. One engine a mode, reused for all cases; an instruction ends where the
 * next one begins, so that a REP runs through. Segment registers of protected mode come from a GDT that is made from
 * the case's own segments.
 */
#include "memory.h"
#include "oracle.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#define GDT_SIZE ORACLE_PAGE

static uc_engine *engine;
static uc_context *fresh; /* without an exception under way: the next one would be a double fault */
static enum oracle_mode engine_mode;
static struct oracle_outcome *current;
static uint8_t gdt[GDT_SIZE] __attribute__((aligned(4096)));

static const int gpr_ids[16] = {
    UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP, UC_X86_REG_RBP,
    UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
    UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15,
};
static const int gpr32_ids[8] = {
    UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
    UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI,
};
static const int seg_ids[HV_EMULATE_SEGS] = {
    UC_X86_REG_ES, UC_X86_REG_CS, UC_X86_REG_SS, UC_X86_REG_DS, UC_X86_REG_FS, UC_X86_REG_GS,
};

static void must(uc_err err, const char *what)
{
    if (err == UC_ERR_OK)
        return;
    printf("Bail out! libunicorn: %s: %s\n", what, uc_strerror(err));
    exit(1);
}

static void on_write(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value, void *opaque)
{
    (void)uc, (void)type, (void)value, (void)opaque;
    oracle_memory_touch(address, (uint64_t)size);
}

static bool on_invalid(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value, void *opaque)
{
    (void)uc, (void)size, (void)value, (void)opaque;
    if (type == UC_MEM_FETCH_UNMAPPED || type == UC_MEM_FETCH_PROT) {
        current->end = ORACLE_BROKEN;
        current->broken = "libunicorn ran away";
        return false;
    }
    current->end = ORACLE_FAULT;
    current->fault = (struct hv_emulate_fault){.vector = 14, .address = address};
    current->fault_is_write = type == UC_MEM_WRITE_UNMAPPED || type == UC_MEM_WRITE_PROT;
    return false;
}

static void on_interrupt(uc_engine *uc, uint32_t number, void *opaque)
{
    (void)opaque;
    uc_emu_stop(uc);
    if (current->end != ORACLE_DONE)
        return;
    current->end = ORACLE_FAULT;
    current->fault = (struct hv_emulate_fault){.vector = (uint8_t)number};
}

static uint32_t on_in(uc_engine *uc, uint32_t port, int size, void *opaque)
{
    uint32_t value = oracle_port_value((uint16_t)port, (uint8_t)size, current->io_count);

    (void)uc, (void)opaque;
    oracle_log_io(current, (uint16_t)port, false, (uint8_t)size, value);
    return value;
}

static void on_out(uc_engine *uc, uint32_t port, int size, uint32_t value, void *opaque)
{
    (void)uc, (void)opaque;
    oracle_log_io(current, (uint16_t)port, true, (uint8_t)size, value);
}

static void map_memory(void)
{
    must(uc_mem_map_ptr(engine, ORACLE_CODE, ORACLE_CODE_SIZE, UC_PROT_EXEC, oracle_code), "mapping the code");
    must(uc_mem_map_ptr(engine, ORACLE_GDT, GDT_SIZE, UC_PROT_READ, gdt), "mapping the GDT");
    for (unsigned i = 0; i < oracle_window_count; i++) {
        for (uint64_t page = 0; page < oracle_windows[i].pages; page++) {
            uint64_t address = oracle_windows[i].begin + page * ORACLE_PAGE;
            enum oracle_page kind = oracle_memory_kind(address);

            if (kind == ORACLE_ABSENT || (engine_mode != ORACLE_LONG64 && address >> 32))
                continue;
            must(uc_mem_map_ptr(engine, address, ORACLE_PAGE,
                                kind == ORACLE_WRITABLE ? UC_PROT_READ | UC_PROT_WRITE : UC_PROT_READ,
                                oracle_memory_at(ORACLE_THEIRS, address)),
                 "mapping memory");
        }
    }
}

void oracle_unicorn_open(enum oracle_mode mode)
{
    static const uc_mode modes[] = {UC_MODE_32, UC_MODE_32, UC_MODE_32, UC_MODE_64};
    uc_x86_mmr gdtr = {.base = ORACLE_GDT, .limit = GDT_SIZE - 1};
    uint64_t cr0 = 0x10, cr4 = 0x620; /* ET; PAE, OSFXSR, OSXMMEXCPT */
    uc_hook hook;

    engine_mode = mode;
    must(uc_open(UC_ARCH_X86, modes[mode], &engine), "opening");
    must(uc_ctl_set_cpu_model(engine, UC_CPU_X86_HASWELL), "model");
    map_memory();
    must(uc_reg_write(engine, UC_X86_REG_CR4, &cr4), "CR4");
    if (mode == ORACLE_REAL16) /* not UC_MODE_16: XMM instructions are undefined there */
        must(uc_reg_write(engine, UC_X86_REG_CR0, &cr0), "CR0");
    if (mode == ORACLE_PROTECTED16 || mode == ORACLE_PROTECTED32)
        must(uc_reg_write(engine, UC_X86_REG_GDTR, &gdtr), "GDTR");
    must(uc_hook_add(engine, &hook, UC_HOOK_MEM_WRITE, (void *)on_write, NULL, 1, 0), "hook of writes");
    must(uc_hook_add(engine, &hook, UC_HOOK_MEM_INVALID, (void *)on_invalid, NULL, 1, 0), "hook of faults");
    must(uc_hook_add(engine, &hook, UC_HOOK_INTR, (void *)on_interrupt, NULL, 1, 0), "hook of exceptions");
    must(uc_hook_add(engine, &hook, UC_HOOK_INSN, (void *)on_in, NULL, 1, 0, UC_X86_INS_IN), "hook of IN");
    must(uc_hook_add(engine, &hook, UC_HOOK_INSN, (void *)on_out, NULL, 1, 0, UC_X86_INS_OUT), "hook of OUT");
    must(uc_context_alloc(engine, &fresh), "context");
    must(uc_context_save(engine, fresh), "saving the context");
}

void oracle_unicorn_close(void)
{
    uc_context_free(fresh);
    uc_close(engine);
}

/* The descriptor of a segment, in the slot of its selector. */
static void put_descriptor(const struct hv_segment *seg)
{
    uint64_t limit = seg->attributes & 0x8000 ? seg->limit >> 12 : seg->limit, descriptor;

    descriptor = (limit & 0xFFFF) | (seg->base & 0xFFFFFF) << 16 | (uint64_t)(seg->attributes & 0xFF) << 40 |
                 (limit >> 16 & 0xF) << 48 | (uint64_t)(seg->attributes >> 12) << 52 | (seg->base >> 24 & 0xFF) << 56;
    memcpy(&gdt[seg->selector & ~7u], &descriptor, 8);
}

static void write_segments(const struct oracle_case *c)
{
    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++) {
        if (c->mode == ORACLE_LONG64) {
            if (i >= HV_EMULATE_FS)
                uc_reg_write(engine, i == HV_EMULATE_FS ? UC_X86_REG_FS_BASE : UC_X86_REG_GS_BASE,
                             &c->state.seg[i].base);
            continue;
        }
        if (c->mode != ORACLE_REAL16)
            put_descriptor(&c->state.seg[i]);
        must(uc_reg_write(engine, seg_ids[i], &c->state.seg[i].selector), "segment register");
    }
}

static void write_registers(const struct oracle_case *c)
{
    bool is_long = c->mode == ORACLE_LONG64;

    write_segments(c);
    for (unsigned i = 0; i < (is_long ? 16 : 8); i++) {
        uc_reg_write(engine, is_long ? gpr_ids[i] : gpr32_ids[i], &c->state.gpr[i]);
        uc_reg_write(engine, UC_X86_REG_XMM0 + (int)i, c->xmm[i]);
        if (is_long && i < 8)
            uc_reg_write(engine, UC_X86_REG_XMM8 + (int)i, c->xmm[i + 8]);
    }
    uc_reg_write(engine, UC_X86_REG_EFLAGS, &c->state.rflags);
}

static void read_registers(const struct oracle_case *c, struct oracle_outcome *outcome)
{
    bool is_long = c->mode == ORACLE_LONG64;

    memcpy(outcome->gpr, c->state.gpr, sizeof outcome->gpr);
    memcpy(outcome->xmm, c->xmm, sizeof outcome->xmm);
    for (unsigned i = 0; i < (is_long ? 16 : 8); i++) {
        outcome->gpr[i] = 0;
        uc_reg_read(engine, is_long ? gpr_ids[i] : gpr32_ids[i], &outcome->gpr[i]);
        uc_reg_read(engine, UC_X86_REG_XMM0 + (int)i, outcome->xmm[i]);
        if (is_long && i < 8)
            uc_reg_read(engine, UC_X86_REG_XMM8 + (int)i, outcome->xmm[i + 8]);
    }
    uc_reg_read(engine, is_long ? UC_X86_REG_RIP : UC_X86_REG_EIP, &outcome->rip);
    uc_reg_read(engine, UC_X86_REG_EFLAGS, &outcome->rflags);
}

void oracle_unicorn_run(const struct oracle_case *c, struct oracle_outcome *outcome)
{
    uint64_t base = c->mode == ORACLE_LONG64 ? 0 : c->state.seg[HV_EMULATE_CS].base;
    uint64_t begin = c->state.rip + c->skipped, end = base + c->state.rip + c->insn.length;
    uc_err err;

    *outcome = (struct oracle_outcome){.end = ORACLE_DONE};
    current = outcome;
    write_registers(c);
    err = uc_emu_start(engine, begin, end, 0, 0); /* the begin is an offset, the end is linear */
    read_registers(c, outcome);
    if (err == UC_ERR_INSN_INVALID && outcome->end == ORACLE_DONE) {
        outcome->end = ORACLE_FAULT;
        outcome->fault = (struct hv_emulate_fault){.vector = 6};
    } else if (err != UC_ERR_OK && outcome->end == ORACLE_DONE) {
        outcome->end = ORACLE_BROKEN;
        outcome->broken = uc_strerror(err);
    }
    if (outcome->end != ORACLE_DONE)
        must(uc_context_restore(engine, fresh), "restoring the context");
}

void oracle_unicorn_new_code(void)
{
    must(uc_ctl_remove_cache(engine, ORACLE_CODE, ORACLE_CODE + ORACLE_CODE_SIZE), "new code");
}
