/* SPDX-License-Identifier: MIT */
/*
 * \barewhp.cfg on the volume that the loader came from. Lines of
 *
 *   cmdline TEXT                  the kernel's command line
 *   module PATH [STRING]          a file to put into memory; STRING is its name and arguments (PATH's last part if
 * missing) # anything
 */
#include "loader.h"
#include <kernel/string.h>

#define CONFIG_MAX (64u << 10)
#define PATH_SIZE  256
#define FILE_MAX   (2ull << 30)

struct text {
    const char *at;
    size_t length;
};

static EFI_FILE_HANDLE open_volume(EFI_HANDLE image)
{
    static EFI_GUID image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID, volume_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    EFI_FILE_IO_INTERFACE *volume;
    EFI_FILE_HANDLE root;

    if (EFI_ERROR(efi->BootServices->HandleProtocol(image, &image_guid, (void **)&loaded)) ||
        EFI_ERROR(efi->BootServices->HandleProtocol(loaded->DeviceHandle, &volume_guid, (void **)&volume)) ||
        EFI_ERROR(volume->OpenVolume(volume, &root)))
        return NULL;
    return root;
}

/* Seeking to the end tells the size without EFI_FILE_INFO's variable length. */
static EFI_STATUS file_size(EFI_FILE_HANDLE file, UINT64 *size)
{
    EFI_STATUS status = file->SetPosition(file, ~0ull);

    if (!EFI_ERROR(status))
        status = file->GetPosition(file, size);
    if (!EFI_ERROR(status))
        status = file->SetPosition(file, 0);
    return status;
}

static EFI_STATUS file_contents(EFI_FILE_HANDLE file, uint64_t max, uint8_t **data, uint64_t *length)
{
    UINT64 size;
    EFI_STATUS status = file_size(file, &size);
    UINTN got;

    if (EFI_ERROR(status))
        return status;
    if (size > max)
        return EFI_BAD_BUFFER_SIZE;
    *data = pages_get(EFI_SIZE_TO_PAGES(size + 1), EfiLoaderData);
    if (!*data)
        return EFI_OUT_OF_RESOURCES;
    got = size;
    status = file->Read(file, &got, *data);
    if (!EFI_ERROR(status) && got != size)
        status = EFI_END_OF_FILE;
    *length = size;
    return status;
}

static EFI_STATUS file_read(EFI_FILE_HANDLE root, const char *path, uint64_t max, uint8_t **data, uint64_t *length)
{
    CHAR16 wide[PATH_SIZE];
    EFI_FILE_HANDLE file;
    EFI_STATUS status;
    size_t n;

    for (n = 0; path[n] && n < PATH_SIZE - 1; n++)
        wide[n] = (CHAR16)(path[n] == '/' ? '\\' : path[n]);
    wide[n] = 0;
    status = root->Open(root, &file, wide, EFI_FILE_MODE_READ, 0);
    if (EFI_ERROR(status))
        return status;
    status = file_contents(file, max, data, length);
    file->Close(file);
    return status;
}

static struct text skip_spaces(struct text t)
{
    while (t.length && (*t.at == ' ' || *t.at == '\t')) {
        t.at++;
        t.length--;
    }
    return t;
}

/* Takes the first word off. */
static struct text word(struct text *t)
{
    struct text w = *t = skip_spaces(*t);

    w.length = 0;
    while (w.length < t->length && w.at[w.length] != ' ' && w.at[w.length] != '\t')
        w.length++;
    t->at += w.length;
    t->length -= w.length;
    *t = skip_spaces(*t);
    return w;
}

static struct text last_part(struct text path)
{
    for (size_t i = path.length; i-- > 0;) {
        if (path.at[i] == '/' || path.at[i] == '\\')
            return (struct text){path.at + i + 1, path.length - i - 1};
    }
    return path;
}

static void on_module(EFI_FILE_HANDLE root, struct text rest, struct boot_info *info)
{
    struct text path = word(&rest);
    struct boot_module *m = &info->modules[info->module_count];
    char name[PATH_SIZE];
    EFI_STATUS status;
    uint8_t *data;

    if (info->module_count == BOOT_MODULES_MAX) {
        info->dropped++;
        return;
    }
    string_copy(name, sizeof(name), path.at, path.length);
    status = file_read(root, name, FILE_MAX, &data, &m->length);
    if (EFI_ERROR(status)) {
        say("cannot read module ", name, status);
        return;
    }
    if (!rest.length)
        rest = last_part(path);
    m->base = (uintptr_t)data;
    string_copy(m->string, sizeof(m->string), rest.at, rest.length);
    info->module_count++;
}

static void on_line(EFI_FILE_HANDLE root, struct text line, struct boot_info *info)
{
    struct text key = word(&line);

    if (!key.length || *key.at == '#')
        return;
    if (key.length == 7 && !memcmp(key.at, "cmdline", 7))
        string_copy(info->command_line, sizeof(info->command_line), line.at, line.length);
    else if (key.length == 6 && !memcmp(key.at, "module", 6))
        on_module(root, line, info);
    else
        say("\\barewhp.cfg has a line that is none of cmdline, module, #", NULL, 0);
}

static void on_config(EFI_FILE_HANDLE root, const char *text, uint64_t length, struct boot_info *info)
{
    while (length) {
        struct text line = {text, 0};

        while (line.length < length && text[line.length] != '\n' && text[line.length] != '\r')
            line.length++;
        on_line(root, line, info);
        text += line.length;
        length -= line.length;
        if (length) { /* the line's end */
            text++;
            length--;
        }
    }
}

void config_read(EFI_HANDLE image, struct boot_info *info)
{
    EFI_FILE_HANDLE root = open_volume(image);
    uint8_t *text;
    uint64_t length;
    EFI_STATUS status;

    if (!root)
        return;
    status = file_read(root, "\\barewhp.cfg", CONFIG_MAX, &text, &length);
    if (!EFI_ERROR(status))
        on_config(root, (const char *)text, length, info);
    else if (status != EFI_NOT_FOUND)
        say("cannot read \\barewhp.cfg", NULL, status);
    root->Close(root);
}
