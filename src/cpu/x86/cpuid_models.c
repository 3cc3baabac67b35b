/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The named CPU models. Each is a feature list on top of another one, so that the table shows what
 * a generation added. TSX, AVX-512 and MPX are in none of them: they were withdrawn or differ among
 * parts of the same name.
 */
#include "cpu/x86/cpuid_private.h"

#define X86_64_V1                                                                                  \
	"fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr "    \
	"sse sse2 syscall nx lm"

#define PLAIN(n, base, m, s, text)                                                                 \
	{ .name = n, .description = text, .vendor = "GenuineIntel", .family = 6, .model = m,       \
	  .stepping = s, .model_id = text, .based_on = base, .features = "" }
#define IBRS(n, base, m, s, text)                                                                  \
	{ .name = n, .description = text, .vendor = "GenuineIntel", .family = 6, .model = m,       \
	  .stepping = s, .model_id = text, .based_on = base, .features = "spec-ctrl" }

const struct cpuid_model_definition cpuid_model_definitions[] = {
	{ .name = "max", .description = "Everything that the engine and this host support",
	  .host = true },
	{ .name = "host", .description = "This host's processor, as far as the engine supports it",
	  .host = true },
	{ .name = "qemu64", .description = "QEMU Virtual CPU version 2.5+: runs everywhere",
	  .vendor = "AuthenticAMD", .family = 15, .model = 107, .stepping = 1,
	  .model_id = "QEMU Virtual CPU version 2.5+",
	  .features = X86_64_V1 " pni cx16 lahf-lm" },
	{ .name = "kvm64", .description = "Common KVM processor",
	  .vendor = "GenuineIntel", .family = 15, .model = 6, .stepping = 1,
	  .model_id = "Common KVM processor", .features = X86_64_V1 " pni cx16" },
	{ .name = "x86-64-v1", .description = "x86-64 psABI baseline",
	  .vendor = "GenuineIntel", .family = 15, .model = 6, .stepping = 1,
	  .model_id = "Berth x86-64-v1", .features = X86_64_V1 },
	{ .name = "x86-64-v2", .description = "x86-64 psABI level 2: SSE4.2, POPCNT",
	  .vendor = "GenuineIntel", .family = 6, .model = 26, .stepping = 3,
	  .model_id = "Berth x86-64-v2", .based_on = "x86-64-v1",
	  .features = "pni ssse3 sse4.1 sse4.2 cx16 popcnt lahf-lm" },
	{ .name = "x86-64-v2-AES", .description = "x86-64-v2 with AES instructions",
	  .vendor = "GenuineIntel", .family = 6, .model = 44, .stepping = 1,
	  .model_id = "Berth x86-64-v2-AES", .based_on = "x86-64-v2",
	  .features = "aes pclmulqdq" },
	{ .name = "x86-64-v3", .description = "x86-64 psABI level 3: AVX2, FMA, BMI",
	  .vendor = "GenuineIntel", .family = 6, .model = 60, .stepping = 1,
	  .model_id = "Berth x86-64-v3", .based_on = "x86-64-v2-AES",
	  .features = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave pcid fsgsbase smep erms "
		      "invpcid rdtscp" },

	{ .name = "Nehalem", .description = "Intel Core i7 9xx (Nehalem Core i7)",
	  .vendor = "GenuineIntel", .family = 6, .model = 26, .stepping = 3,
	  .model_id = "Intel Core i7 9xx (Nehalem Class Core i7)",
	  .features = "vme " X86_64_V1 " pni ssse3 sse4.1 sse4.2 cx16 popcnt lahf-lm" },
	{ .name = "Westmere", .description = "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
	  .vendor = "GenuineIntel", .family = 6, .model = 44, .stepping = 1,
	  .model_id = "Westmere E56xx/L56xx/X56xx (Nehalem-C)", .based_on = "Nehalem",
	  .features = "aes pclmulqdq arat" },
	{ .name = "SandyBridge", .description = "Intel Xeon E312xx (Sandy Bridge)",
	  .vendor = "GenuineIntel", .family = 6, .model = 42, .stepping = 1,
	  .model_id = "Intel Xeon E312xx (Sandy Bridge)", .based_on = "Westmere",
	  .features = "avx xsave xsaveopt x2apic tsc-deadline rdtscp" },
	{ .name = "IvyBridge", .description = "Intel Xeon E3-12xx v2 (Ivy Bridge)",
	  .vendor = "GenuineIntel", .family = 6, .model = 58, .stepping = 9,
	  .model_id = "Intel Xeon E3-12xx v2 (Ivy Bridge)", .based_on = "SandyBridge",
	  .features = "f16c rdrand fsgsbase smep erms" },
	{ .name = "Haswell-noTSX", .description = "Intel Core Processor (Haswell, no TSX)",
	  .vendor = "GenuineIntel", .family = 6, .model = 60, .stepping = 1,
	  .model_id = "Intel Core Processor (Haswell, no TSX)", .based_on = "IvyBridge",
	  .features = "fma movbe pcid avx2 bmi1 bmi2 invpcid abm" },
	{ .name = "Haswell", .description = "Intel Core Processor (Haswell), without TSX",
	  .vendor = "GenuineIntel", .family = 6, .model = 60, .stepping = 4,
	  .model_id = "Intel Core Processor (Haswell)", .based_on = "Haswell-noTSX",
	  .features = "" },
	{ .name = "Broadwell-noTSX", .description = "Intel Core Processor (Broadwell, no TSX)",
	  .vendor = "GenuineIntel", .family = 6, .model = 61, .stepping = 2,
	  .model_id = "Intel Core Processor (Broadwell, no TSX)", .based_on = "Haswell",
	  .features = "rdseed adx smap 3dnowprefetch" },
	{ .name = "Skylake-Client-noTSX-IBRS",
	  .description = "Intel Core Processor (Skylake, IBRS, no TSX)",
	  .vendor = "GenuineIntel", .family = 6, .model = 94, .stepping = 3,
	  .model_id = "Intel Core Processor (Skylake, IBRS, no TSX)",
	  .based_on = "Broadwell-noTSX",
	  .features = "xsavec xgetbv1 spec-ctrl clflushopt" },
	{ .name = "Skylake-Server-noTSX",
	  .description = "Intel Xeon Processor (Skylake), without TSX and AVX-512",
	  .vendor = "GenuineIntel", .family = 6, .model = 85, .stepping = 4,
	  .model_id = "Intel Xeon Processor (Skylake)", .based_on = "Broadwell-noTSX",
	  .features = "xsavec xgetbv1 clflushopt clwb pdpe1gb" },
	/* Spellings that libvirt and scripts use; the microcode's additions came with a suffix. */
	IBRS("SandyBridge-IBRS", "SandyBridge", 42, 1, "Intel Xeon E312xx (Sandy Bridge, IBRS update)"),
	IBRS("IvyBridge-IBRS", "IvyBridge", 58, 9, "Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)"),
	IBRS("Haswell-noTSX-IBRS", "Haswell", 60, 1, "Intel Core Processor (Haswell, no TSX, IBRS)"),
	IBRS("Haswell-IBRS", "Haswell", 60, 4, "Intel Core Processor (Haswell, IBRS)"),
	PLAIN("Broadwell", "Broadwell-noTSX", 61, 2, "Intel Core Processor (Broadwell)"),
	IBRS("Broadwell-IBRS", "Broadwell", 61, 2, "Intel Core Processor (Broadwell, IBRS)"),
	IBRS("Broadwell-noTSX-IBRS", "Broadwell", 61, 2,
	     "Intel Core Processor (Broadwell, no TSX, IBRS)"),
	PLAIN("Skylake-Client-IBRS", "Skylake-Client-noTSX-IBRS", 94, 3,
	      "Intel Core Processor (Skylake, IBRS)"),
	PLAIN("Skylake-Client", "Skylake-Server-noTSX", 94, 3, "Intel Core Processor (Skylake)"),
	PLAIN("Skylake-Server", "Skylake-Server-noTSX", 85, 4, "Intel Xeon Processor (Skylake)"),
	IBRS("Skylake-Server-IBRS", "Skylake-Server", 85, 4, "Intel Xeon Processor (Skylake, IBRS)"),
	IBRS("Skylake-Server-noTSX-IBRS", "Skylake-Server", 85, 4,
	     "Intel Xeon Processor (Skylake, IBRS, no TSX)"),
	{ .name = "Cascadelake-Server-noTSX", .description = "Intel Xeon Processor (Cascadelake)",
	  .vendor = "GenuineIntel", .family = 6, .model = 85, .stepping = 6,
	  .model_id = "Intel Xeon Processor (Cascadelake)", .based_on = "Skylake-Server-IBRS",
	  .features = "ssbd arch-capabilities" },
	PLAIN("Cascadelake-Server", "Cascadelake-Server-noTSX", 85, 6,
	      "Intel Xeon Processor (Cascadelake)"),
	{ .name = "Icelake-Server-noTSX", .description = "Intel Xeon Processor (Icelake)",
	  .vendor = "GenuineIntel", .family = 6, .model = 106, .stepping = 0,
	  .model_id = "Intel Xeon Processor (Icelake)", .based_on = "Cascadelake-Server",
	  .features = "umip gfni vaes vpclmulqdq rdpid sha-ni fsrm" },
	PLAIN("Icelake-Server", "Icelake-Server-noTSX", 106, 0, "Intel Xeon Processor (Icelake)"),
	{ .name = "EPYC", .description = "AMD EPYC Processor",
	  .vendor = "AuthenticAMD", .family = 23, .model = 1, .stepping = 2,
	  .model_id = "AMD EPYC Processor",
	  .features = "vme " X86_64_V1 " pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt "
		      "aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap "
		      "clflushopt sha-ni xsaveopt xsavec xgetbv1 lahf-lm abm misalignsse "
		      "3dnowprefetch pdpe1gb rdtscp fxsr-opt arat" },
	{ .name = "EPYC-IBPB", .description = "AMD EPYC Processor (with IBPB)",
	  .vendor = "AuthenticAMD", .family = 23, .model = 1, .stepping = 2,
	  .model_id = "AMD EPYC Processor (with IBPB)", .based_on = "EPYC", .features = "ibpb" },
	{ .name = "EPYC-Rome", .description = "AMD EPYC-Rome Processor",
	  .vendor = "AuthenticAMD", .family = 23, .model = 49, .stepping = 0,
	  .model_id = "AMD EPYC-Rome Processor", .based_on = "EPYC-IBPB",
	  .features = "clwb rdpid umip wbnoinvd xsaves" },
	{ .name = "EPYC-Milan", .description = "AMD EPYC-Milan Processor",
	  .vendor = "AuthenticAMD", .family = 25, .model = 1, .stepping = 1,
	  .model_id = "AMD EPYC-Milan Processor", .based_on = "EPYC-Rome",
	  .features = "pcid invpcid erms fsrm ibrs" },
	{ 0 },
};
