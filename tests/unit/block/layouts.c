/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers of image formats: bytes to values and back, and what must be refused. */
#include "base/bytes.h"
#include "base/units.h"
#include "block/format/qed_layout.h"
#include "block/format/vdi_layout.h"
#include "block/format/vhdx_layout.h"
#include "block/format/vmdk_layout.h"
#include "block/format/vpc_layout.h"

#include <string.h>

static void refused(bool result, GError **error, const char *says)
{
	g_assert_false(result);
	g_assert_nonnull(*error);
	if (!strstr((*error)->message, says))
		g_error("'%s' is not in '%s'", says, (*error)->message);
	g_clear_error(error);
}

static void test_vdi(void)
{
	GError *error = NULL;
	struct vdi_header header, again;
	uint8_t bytes[VDI_HEADER_SIZE];
	g_assert_true(vdi_header_plan(&header, 10 * MIB + 512, false, &error));
	g_assert_cmpuint(header.blocks, ==, 11);
	g_assert_cmpuint(header.data_offset, ==, 1024);
	vdi_header_format(&header, bytes);
	g_assert_true(vdi_header_parse(&again, bytes, 1024, &error));
	g_assert_cmpuint(again.blocks, ==, 11);
	g_assert_cmpuint(again.disk_size, ==, 10 * MIB + 512);
	refused(vdi_header_parse(&again, bytes, 550, &error), &error, "cut off");
	le32_store(bytes + 0x180, 10);
	refused(vdi_header_parse(&again, bytes, 1024, &error), &error, "disk size larger");
	le32_store(bytes + 0x180, UINT32_MAX);
	refused(vdi_header_parse(&again, bytes, UINT64_MAX, &error), &error, "too many blocks");
	refused(vdi_header_plan(&header, UINT64_MAX - 5, false, &error), &error, "image size");
}

static void test_vpc(void)
{
	GError *error = NULL;
	struct vpc_footer footer = {.type = VPC_DYNAMIC, .header_offset = 512, .current_size = 10 * MIB,
				    .creator = {'q', 'e', 'm', '2'}}, again;
	uint8_t bytes[VPC_HEADER_SIZE];
	footer.geometry = vpc_geometry_of(20480);
	g_assert_cmpuint(footer.geometry.sectors, ==, 17);
	g_assert_cmpuint(footer.geometry.heads, ==, 4);
	vpc_footer_format(&footer, bytes);
	g_assert_true(vpc_footer_parse(&again, bytes, &error));
	g_assert_cmpuint(vpc_footer_disk_size(&again), ==, 10 * MIB);
	memcpy(again.creator, "qemu", 4); /* whose sizes are the geometry's */
	g_assert_cmpuint(vpc_footer_disk_size(&again), ==, vpc_geometry_sectors(footer.geometry) * 512);
	bytes[50] ^= 1;
	refused(vpc_footer_parse(&again, bytes, &error), &error, "checksum");
	g_assert_cmpuint(vpc_geometry_sectors(vpc_geometry_of(UINT64_MAX)), ==, VPC_CHS_MAX);

	struct vpc_header header = {.table_offset = 1536, .entries = 5, .block_size = 2 << 20}, read;
	vpc_header_format(&header, bytes);
	g_assert_true(vpc_header_parse(&read, bytes, 10 * MIB, 2048, &error));
	g_assert_cmpuint(read.entries, ==, 5);
	refused(vpc_header_parse(&read, bytes, 11 * MIB, 2048, &error), &error, "too small");
	refused(vpc_header_parse(&read, bytes, 10 * MIB, 1540, &error), &error, "cut off");
	header.table_offset = UINT64_MAX - 3;
	vpc_header_format(&header, bytes);
	refused(vpc_header_parse(&read, bytes, 10 * MIB, UINT64_MAX, &error), &error, "cut off");
}

static void test_qed(void)
{
	GError *error = NULL;
	struct qed_header header = {.cluster_size = 65536, .table_size = 4, .header_size = 1,
				    .l1_offset = 65536, .disk_size = GIB}, again;
	uint8_t bytes[QED_HEADER_SIZE];
	qed_header_format(&header, bytes);
	g_assert_true(qed_header_parse(&again, bytes, 5 * 65536, &error));
	g_assert_cmpuint(again.l1_offset, ==, 65536);
	g_assert_cmpuint(again.disk_size, ==, GIB);
	refused(qed_header_parse(&again, bytes, 4 * 65536, &error), &error, "L1 table");
	le64_store(bytes + 16, 64);
	refused(qed_header_parse(&again, bytes, 5 * 65536, &error), &error, "features: 40");
	header.cluster_size = 65537;
	refused(qed_header_check(&header, &error), &error, "cluster size");
	header = (struct qed_header){.cluster_size = 64 << 20, .table_size = 16, .disk_size = UINT64_MAX};
	refused(qed_header_check(&header, &error), &error, "image size");
	header = (struct qed_header){.features = QED_BACKING, .cluster_size = 4096, .table_size = 1,
				     .header_size = 1, .l1_offset = 4096, .backing_offset = 4000,
				     .backing_length = 200};
	qed_header_format(&header, bytes);
	refused(qed_header_parse(&again, bytes, 8192, &error), &error, "backing file name");
}

static void test_vmdk(void)
{
	static const char text[] = "# Disk DescriptorFile\nversion=1\nCID=12ab34cd\nparentCID=ffffffff\n"
				   "createType=\"twoGbMaxExtentFlat\"\r\nRW 4096 FLAT \"a b.vmdk\" 128\n"
				   "RDONLY 63 ZERO\nddb.x = \"1\"\n";
	GError *error = NULL;
	struct vmdk_descriptor descriptor;
	g_assert_true(vmdk_descriptor_parse(&descriptor, text, sizeof(text) - 1, &error));
	g_assert_cmphex(descriptor.cid, ==, 0x12ab34cd);
	g_assert_cmpstr(descriptor.create_type, ==, "twoGbMaxExtentFlat");
	g_assert_cmpuint(descriptor.extents->len, ==, 2);
	const struct vmdk_extent_line *line = &g_array_index(descriptor.extents, struct vmdk_extent_line, 0);
	g_assert_cmpstr(line->name, ==, "a b.vmdk");
	g_assert_cmpuint(line->offset, ==, 128);
	vmdk_descriptor_clear(&descriptor);
	static const char *const wrong[] = {
		"createType=\"x\"\nRW 1 FLAT \"a\"\n", "createType=\"x\"\nRW 1 STRANGE \"a\" 0\n",
		"createType=\"x\"\nRW 0 FLAT \"a\" 0\n", "createType=\"x\"\nNOACCESS 1 FLAT \"a\" 0\n",
		"createType=\"x\"\n", "RW 1 FLAT \"a\" 0\n", "",
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		g_assert_false(vmdk_descriptor_parse(&descriptor, wrong[i], strlen(wrong[i]), &error));
		g_clear_error(&error);
	}

	struct vmdk_sparse sparse = {.version = 1, .flags = VMDK_NEWLINE_TEST | VMDK_REDUNDANT,
				     .capacity = 65536, .grain = 128, .table_entries = 512,
				     .directory_entries = 1}, again;
	uint8_t bytes[VMDK_HEADER_SIZE];
	vmdk_sparse_format(&sparse, bytes);
	g_assert_true(vmdk_sparse_parse(&again, bytes, &error));
	g_assert_cmpuint(again.capacity, ==, 65536);
	g_assert_cmpuint(again.directory_entries, ==, 1);
	bytes[73] = '\r';
	refused(vmdk_sparse_parse(&again, bytes, &error), &error, "text mode");
	sparse.capacity = UINT64_MAX;
	vmdk_sparse_format(&sparse, bytes);
	refused(vmdk_sparse_parse(&again, bytes, &error), &error, "L1 size");
}

static void test_vhdx(void)
{
	GError *error = NULL;
	struct vhdx_header header = {.sequence = 7, .log_offset = MIB, .log_length = MIB}, again;
	g_autofree uint8_t *bytes = g_malloc0(VHDX_METADATA_USED);
	g_assert_cmphex(vhdx_crc(0, "123456789", 9), ==, 0xe3069283);
	vhdx_header_format(&header, bytes);
	g_assert_true(vhdx_header_parse(&again, bytes));
	g_assert_cmpuint(again.sequence, ==, 7);
	g_assert_cmpuint(again.log_length, ==, MIB);
	bytes[100] ^= 1;
	g_assert_false(vhdx_header_parse(&again, bytes));

	struct vhdx_regions regions = {{2 * MIB, MIB}, {3 * MIB, MIB}}, read;
	vhdx_regions_format(&regions, bytes);
	g_assert_true(vhdx_regions_parse(&read, bytes, 4 * MIB, &error));
	g_assert_cmpuint(read.metadata.offset, ==, 3 * MIB);
	refused(vhdx_regions_parse(&read, bytes, 4 * MIB - 1, &error), &error, "outside");

	struct vhdx_metadata metadata = {.block_size = MIB, .logical_sector = 512, .physical_sector = 512,
					 .disk_size = 5 * GIB}, parsed;
	vhdx_metadata_format(&metadata, bytes);
	g_assert_true(vhdx_metadata_parse(&parsed, bytes, VHDX_METADATA_USED, &error));
	g_assert_cmpuint(parsed.disk_size, ==, 5 * GIB);
	/* 4096 blocks of 1 MiB share a bitmap block, whose entry lies between. */
	g_assert_cmpuint(vhdx_chunk_ratio(&parsed), ==, 4096);
	g_assert_cmpuint(vhdx_entry_index(&parsed, 4095), ==, 4095);
	g_assert_cmpuint(vhdx_entry_index(&parsed, 4096), ==, 4097);
	le32_store(bytes + VHDX_TABLE_SIZE, 3 * MIB);
	refused(vhdx_metadata_parse(&parsed, bytes, VHDX_METADATA_USED, &error), &error, "block size");
}

static void test_vhdx_log(void)
{
	uint8_t sector[VHDX_LOG_SECTOR], back[VHDX_LOG_SECTOR], bytes[2 * VHDX_LOG_SECTOR];
	for (unsigned i = 0; i < sizeof(sector); i++)
		sector[i] = i * 7;
	struct vhdx_log_entry entry = {.sequence = UINT64_C(0x500000003), .tail = 8192}, read;
	struct vhdx_log_descriptor descriptor;
	vhdx_log_entry_format(&entry, 2 * MIB, sector, bytes);
	g_assert_true(vhdx_log_entry_parse(&read, bytes, MIB));
	g_assert_true(vhdx_log_entry_valid(&read, bytes));
	vhdx_log_descriptor_parse(&descriptor, bytes + 64);
	g_assert_cmpuint(descriptor.offset, ==, 2 * MIB);
	vhdx_log_restore(&read, bytes, 0, &descriptor, back);
	g_assert_cmpmem(sector, sizeof(sector), back, sizeof(back));
	bytes[5000] ^= 1; /* torn */
	g_assert_false(vhdx_log_entry_valid(&read, bytes));
	le32_store(bytes + 24, UINT32_MAX);
	g_assert_false(vhdx_log_entry_parse(&read, bytes, MIB));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/block/layout/vdi", test_vdi);
	g_test_add_func("/block/layout/vpc", test_vpc);
	g_test_add_func("/block/layout/qed", test_qed);
	g_test_add_func("/block/layout/vmdk", test_vmdk);
	g_test_add_func("/block/layout/vhdx", test_vhdx);
	g_test_add_func("/block/layout/vhdx-log", test_vhdx_log);
	return g_test_run();
}
