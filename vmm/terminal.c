/* SPDX-License-Identifier: MIT */
/* See vmm/terminal.h. */
#include <vmm/bytes.h>
#include <vmm/system.h>
#include <vmm/terminal.h>

#define PATIENCE_NS 1000000000ull /* a line without an end is shown after that */

#define PANIC      "Kernel panic - not syncing"
#define INIT_BEGIN "Run "
#define INIT_END   " as init process"

void terminal_init(struct terminal *terminal, const struct machine_services *services, uint32_t guest)
{
    *terminal = (struct terminal){.services = services, .guest = guest};
}

/* ------------------------------------------------------------------------------------- reading along */

static void read_line(struct terminal *terminal)
{
    const char *run;

    terminal->line[terminal->length] = '\0';
    if (text_find(terminal->line, PANIC))
        terminal->panicked = true;
    run = text_find(terminal->line, INIT_BEGIN);
    if (run && text_find(run, INIT_END))
        terminal->init_started = true;
}

/*
 * The first output of the first process: the first line after "Run /init as init process" that does not begin with the
 * "[" of the kernel's own time stamps.
 */
static void watch_for_userspace(struct terminal *terminal, uint8_t byte, uint64_t now)
{
    if (terminal->init_started && !terminal->userspace_ns && !terminal->length && byte != '[')
        terminal->userspace_ns = now;
}

/* ------------------------------------------------------------------------------------------ showing */

/* One line of one guest at a time. */
static struct lock line_lock;

static void show_line(struct terminal *terminal)
{
    lock_take(&line_lock);
    system_print("guest %u: ", terminal->guest);
    system_console_write(terminal->line + terminal->shown, terminal->length - terminal->shown);
    system_console_write("\r\n", 2);
    lock_release(&line_lock);
    terminal->shown = terminal->length;
}

static void end_line(struct terminal *terminal)
{
    if (terminal->guest && (terminal->length > terminal->shown || !terminal->shown))
        show_line(terminal);
    read_line(terminal);
    terminal->length = 0;
    terminal->shown = 0;
}

/* A line that is longer than the buffer is shown in parts. */
static void keep(struct terminal *terminal, uint8_t byte)
{
    if (terminal->length == TERMINAL_LINE_SIZE - 1) {
        if (!terminal->guest)
            return;
        end_line(terminal);
    }
    terminal->line[terminal->length++] = (char)byte;
}

void terminal_put(void *context, uint8_t byte)
{
    struct terminal *terminal = context;
    char c = (char)byte;

    lock_take(&terminal->lock);
    terminal->last_ns = terminal->services->time_ns(terminal->services->context);
    watch_for_userspace(terminal, byte, terminal->last_ns);
    if (!terminal->guest)
        system_console_write(&c, 1);
    if (byte == '\n')
        end_line(terminal);
    else if (byte != '\r')
        keep(terminal, byte);
    lock_release(&terminal->lock);
}

void terminal_flush(struct terminal *terminal, bool is_end)
{
    uint64_t now = terminal->services->time_ns(terminal->services->context);

    lock_take(&terminal->lock);
    if (terminal->guest && terminal->length > terminal->shown && (is_end || now - terminal->last_ns > PATIENCE_NS))
        show_line(terminal);
    lock_release(&terminal->lock);
}

struct terminal_state terminal_look(struct terminal *terminal)
{
    struct terminal_state state;

    lock_take(&terminal->lock);
    state = (struct terminal_state){.panicked = terminal->panicked,
                                    .at_line_begin = !terminal->length || terminal->guest,
                                    .userspace_ns = terminal->userspace_ns,
                                    .last_ns = terminal->last_ns};
    lock_release(&terminal->lock);
    return state;
}
