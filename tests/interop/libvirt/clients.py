#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Other clients of Debian's drive a private berthd: Sys::Virt (Perl), libvirt-dbus, the Prometheus exporter."""
import os
import socket
import subprocess
import time
import urllib.request

from private import Daemon

XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><disk type='file'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""

PERL = r"""
use strict; use warnings; use Sys::Virt;
my ($uri, $xml) = @ARGV;
my $conn = Sys::Virt->new(uri => $uri);
die "type" unless $conn->get_type() eq "QEMU";
my $dom = $conn->define_domain($xml);
$dom->create();
die "active" unless $dom->is_active() && $dom->get_info()->{nrVirtCpu} == 1;
die "list" unless join(",", map { $_->get_name() } $conn->list_all_domains()) eq "perl";
die "stats" unless exists $dom->block_stats("vda")->{rd_bytes};
my ($stats) = $conn->get_all_domain_stats(Sys::Virt::Domain::STATS_STATE, [$dom]);
die "bulk" unless $stats->{data}->{"state.state"} == 1;
$dom->suspend(); $dom->resume(); $dom->set_metadata(Sys::Virt::Domain::METADATA_TITLE, "pearl", undef, undef, 0);
die "title" unless $dom->get_metadata(Sys::Virt::Domain::METADATA_TITLE, undef, 0) eq "pearl";
$dom->destroy(); $dom->undefine();
eval { $conn->get_domain_by_name("perl") };
die "still there" unless $@ && $@->code == Sys::Virt::Error::ERR_NO_DOMAIN;
print "pearls\n";
"""

# libvirt-dbus knows no sockets but the system's: it gets a /run/libvirt and a system bus of its own.
DBUS = r"""
set -e
mkdir -p /run/libvirt
mount -t tmpfs none /run/libvirt
ln -s "$1" /run/libvirt/libvirt-sock
connect=/org/libvirt/QEMU
DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS libvirt-dbus --system &
dbus=$!
gdbus wait --session --timeout 30 org.libvirt
gdbus call --session --dest org.libvirt --object-path $connect --method org.libvirt.Connect.ListDomains 0
path=$(gdbus call --session --dest org.libvirt --object-path $connect \
	--method org.libvirt.Connect.DomainLookupByName bus | sed "s/.*'\(.*\)'.*/\1/")
gdbus call --session --dest org.libvirt --object-path "$path" --method org.libvirt.Domain.Create 0
gdbus call --session --dest org.libvirt --object-path "$path" --method org.libvirt.Domain.GetState 0
gdbus call --session --dest org.libvirt --object-path "$path" --method org.freedesktop.DBus.Properties.Get \
	org.libvirt.Domain Name
gdbus call --session --dest org.libvirt --object-path "$path" --method org.libvirt.Domain.Destroy 0
kill $dbus
"""


def output(*command, **options):
    result = subprocess.run(command, text=True, timeout=120, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **options)
    assert result.returncode == 0, f"{command[0]}:\n{result.stdout}"
    return result.stdout


def check_perl(daemon, disk):
    assert "pearls" in output("perl", "-e", PERL, daemon.uri(), XML.format(name="perl", disk=disk))


def check_dbus(daemon, disk):
    path = os.path.join(daemon.top, "bus.xml")
    with open(path, "w") as file:
        file.write(XML.format(name="bus", disk=disk))
    daemon.virsh("define", path)
    said = output("unshare", "-m", "dbus-run-session", "--", "sh", "-c", DBUS, "sh", daemon.socket)
    assert "/org/libvirt/QEMU/domain/" in said and "(1, 1)" in said.replace("[", "(").replace("]", ")"), said
    assert "<'bus'>" in said, said
    assert daemon.said("domstate", "bus") == "shut off"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scrape(url):
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the exporter does not answer")


def check_exporter(daemon):
    daemon.virsh("start", "bus")
    port = free_port()
    with subprocess.Popen(["prometheus-libvirt-exporter", f"--web.listen-address=127.0.0.1:{port}",
                           f"--libvirt.uri={daemon.uri()}"], stderr=subprocess.DEVNULL) as exporter:
        try:
            metrics = scrape(f"http://127.0.0.1:{port}/metrics")
        finally:
            exporter.terminate()
    assert "libvirt_up 1" in metrics, metrics
    assert 'libvirt_domain_info_virtual_cpus{domain="bus"' in metrics, metrics
    assert 'libvirt_domain_block_stats_read_bytes_total{domain="bus"' in metrics, metrics
    daemon.virsh("destroy", "bus")
    daemon.virsh("undefine", "bus")


def main():
    with Daemon() as daemon:
        disk = os.path.join(daemon.top, "d.raw")
        daemon.run("truncate", "-s", "1M", disk)
        check_perl(daemon, disk)
        check_dbus(daemon, disk)
        check_exporter(daemon)


main()
