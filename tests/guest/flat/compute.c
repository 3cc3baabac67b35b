/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer work of several kinds, checked against known results: a test, and a load to profile. */
typedef unsigned int u32;
typedef unsigned long u64;

static inline void out8(unsigned short port, unsigned char v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static u32 crc_table[256];

static u32 crc(const unsigned char *p, u32 n)
{
	u32 c = ~0u;
	for (u32 k = 0; k < n; k++)
		c = crc_table[(c ^ p[k]) & 0xff] ^ (c >> 8);
	return ~c;
}

static void crc_setup(void)
{
	for (u32 n = 0; n < 256; n++) {
		u32 c = n;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
		crc_table[n] = c;
	}
}

static __attribute__((noinline)) u32 fib(u32 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static __attribute__((noinline)) void sort(u32 *a, int n)
{
	while (n > 1) {
		u32 pivot = a[n / 2];
		int i = 0, j = n - 1;
		while (i <= j) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i <= j) {
				u32 t = a[i];
				a[i++] = a[j];
				a[j--] = t;
			}
		}
		sort(a, j + 1);
		a += i;
		n -= i;
	}
}

static __attribute__((noinline)) u64 divide(u64 x)
{
	u64 sum = 0;
	for (u64 d = 1; d < 5000; d++)
		sum += x / d + x % d;
	return sum;
}

__attribute__((section(".entry"))) void entry(void)
{
	u32 *data = (u32 *)0x1000000UL, seed = 12345;
	int bad = 0;
	crc_setup();
	for (int k = 0; k < 20000; k++) {
		seed = seed * 1103515245 + 12345;
		data[k] = seed >> 3;
	}
	bad |= fib(SCALE) != FIB;
	for (int k = 0; k < 8; k++)
		sort(data, 20000);
	for (int k = 1; k < 20000; k++)
		bad |= data[k - 1] > data[k];
	for (int k = 0; k < 10; k++)
		crc((unsigned char *)data, 80000);
	bad |= crc((const unsigned char *)"123456789", 9) != 0xcbf43926;
	bad |= divide(1000000007) != 9100372634UL ? 2 : 0;
	out8(0xf4, bad);
	for (;;)
		;
}
