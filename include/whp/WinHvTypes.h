/* SPDX-License-Identifier: MIT */
/*
 * The Windows scalar types, HRESULTs and calling convention words that the WHP headers are written in.
 *
 * On Windows itself (_WIN32, or any header of the SDK seen before this one) the SDK's own definitions are used:
 * include <windows.h> first. Elsewhere these are, with the sizes of Windows x64: LONG and ULONG have 32 bits
 * whatever `long` has, and WCHAR 16 bits.
 */
#ifndef WHP_WINHVTYPES_H
#define WHP_WINHVTYPES_H

#if defined(_WINDOWS_) || defined(_WINDEF_) || defined(_MINWINDEF_) || defined(_WINNT_)
#define WHP_HAVE_WINDOWS_TYPES 1
#elif defined(_WIN32) && __STDC_HOSTED__
#error "include <windows.h> before the WHP headers"
#endif

#ifndef WHP_HAVE_WINDOWS_TYPES

#include <stddef.h>
#include <stdint.h>

/*
 * Calling conventions. API and client are compiled together, from source, for one target, so both use that target's
 * default convention and these words are empty; with a compiler for Windows x64 that default is Microsoft's, as the
 * DLLs have it. A client built as a binary for Windows cannot be linked here: that would need
 * __attribute__((ms_abi)) on every function.
 */
#define WINAPI
#define CALLBACK
#define APIENTRY WINAPI

#define VOID  void
#define CONST const

#define DECLSPEC_ALIGN(bytes) __attribute__((aligned(bytes)))

#ifdef __cplusplus
#define C_ASSERT(condition) static_assert(condition, #condition)
#else
#define C_ASSERT(condition) _Static_assert(condition, #condition)
#endif

/* -------------------------------------------------------------------------------------------------------- scalars */

typedef int8_t INT8;
typedef int16_t INT16;
typedef int32_t INT32;
typedef int64_t INT64;
typedef uint8_t UINT8;
typedef uint16_t UINT16;
typedef uint32_t UINT32;
typedef uint64_t UINT64;

typedef char CHAR;
typedef int8_t SCHAR;
typedef uint8_t UCHAR;
typedef int16_t SHORT;
typedef uint16_t USHORT;
typedef int INT;
typedef unsigned int UINT;
typedef int32_t LONG;
typedef uint32_t ULONG;
typedef int64_t LONGLONG;
typedef uint64_t ULONGLONG;
typedef int64_t LONG64;
typedef uint64_t ULONG64;

typedef uint8_t BYTE;
typedef uint16_t WORD;
typedef uint32_t DWORD;
typedef uint64_t DWORD64;

typedef intptr_t INT_PTR;
typedef uintptr_t UINT_PTR;
typedef intptr_t LONG_PTR;
typedef uintptr_t ULONG_PTR;
typedef uintptr_t DWORD_PTR;
typedef ULONG_PTR SIZE_T;

/* u"..." literals give WCHAR strings; so do L"..." where wchar_t has 16 bits (-fshort-wchar). */
#if __SIZEOF_WCHAR_T__ == 2
typedef wchar_t WCHAR;
#elif defined(__cplusplus)
typedef char16_t WCHAR;
#else
typedef uint16_t WCHAR;
#endif

typedef int32_t BOOL; /* 4 bytes, as in WHvCapabilityCodeHypervisorPresent */
typedef uint8_t BOOLEAN;

#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif

/* ------------------------------------------------------------------------------------------------------- pointers */

typedef void *PVOID;
typedef void *LPVOID;
typedef const void *LPCVOID;
typedef void *HANDLE; /* an object of the host; what it is depends on the function */
typedef HANDLE *PHANDLE;
typedef BOOL *PBOOL;
typedef BYTE *PBYTE;
typedef UINT8 *PUINT8;
typedef UINT32 *PUINT32;
typedef UINT64 *PUINT64;
typedef ULONG *PULONG;
typedef CHAR *PSTR;
typedef const CHAR *PCSTR;
typedef WCHAR *PWSTR;
typedef const WCHAR *PCWSTR;

#define INVALID_HANDLE_VALUE ((HANDLE)(LONG_PTR)-1)

/* ----------------------------------------------------------------------------------------------------- structures */

typedef struct _GUID {
    UINT32 Data1;
    UINT16 Data2;
    UINT16 Data3;
    UINT8 Data4[8];
} GUID;

typedef struct _LUID {
    DWORD LowPart;
    LONG HighPart;
} LUID;

typedef enum _DEVICE_POWER_STATE {
    PowerDeviceUnspecified = 0,
    PowerDeviceD0          = 1,
    PowerDeviceD1          = 2,
    PowerDeviceD2          = 3,
    PowerDeviceD3          = 4,
    PowerDeviceMaximum     = 5,
} DEVICE_POWER_STATE;

/* ------------------------------------------------------------------------------------------------------- HRESULTs */

typedef LONG HRESULT; /* negative: failure */

#define SUCCEEDED(hr) ((HRESULT)(hr) >= 0)
#define FAILED(hr)    ((HRESULT)(hr) < 0)

#define HRESULT_CODE(hr)     ((hr)&0xFFFF)
#define HRESULT_FACILITY(hr) (((hr) >> 16) & 0x1FFF)
#define FACILITY_WIN32       7

/* A value that is negative already, such as another HRESULT, stays as it is. */
#define HRESULT_FROM_WIN32(error)             \
    ((HRESULT)(error) <= 0 ? (HRESULT)(error) \
                           : (HRESULT)(((UINT32)(error)&0xFFFF) | ((UINT32)FACILITY_WIN32 << 16) | 0x80000000))

#define S_OK           ((HRESULT)0)
#define S_FALSE        ((HRESULT)1)
#define E_NOTIMPL      ((HRESULT)0x80004001)
#define E_POINTER      ((HRESULT)0x80004003)
#define E_ABORT        ((HRESULT)0x80004004)
#define E_FAIL         ((HRESULT)0x80004005)
#define E_UNEXPECTED   ((HRESULT)0x8000FFFF)
#define E_ACCESSDENIED ((HRESULT)0x80070005)
#define E_HANDLE       ((HRESULT)0x80070006)
#define E_OUTOFMEMORY  ((HRESULT)0x8007000E)
#define E_INVALIDARG   ((HRESULT)0x80070057)

/* Win32 errors, which the API returns through HRESULT_FROM_WIN32. */
#define ERROR_SUCCESS             0
#define ERROR_INVALID_DATA        13
#define ERROR_NOT_SUPPORTED       50
#define ERROR_INVALID_PARAMETER   87
#define ERROR_INSUFFICIENT_BUFFER 122
#define ERROR_NOT_FOUND           1168
#define ERROR_INVALID_STATE       5023

#endif /* !WHP_HAVE_WINDOWS_TYPES */

/* Linkage of the API's functions: called directly, in the same image; nothing is imported from a DLL. */
#define WHVAPI WINAPI

#endif
