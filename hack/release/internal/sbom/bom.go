// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package sbom lists what is in an image or a program, in CycloneDX's words. It reads
// what was built, not what it was built from: the build information that Go leaves in
// programs, Debian's own records and the manifests of npm packages. It may not guess.
package sbom

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// OfProgram lists the Go modules in a program of ours.
func OfProgram(file, name, version string) (*cdx.BOM, error) {
	program, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("listing what is in %s: %w", name, err)
	}
	defer program.Close()
	found, err := modules(program)
	if err != nil {
		return nil, fmt.Errorf("listing what is in %s: %w", name, err)
	}
	return bom(cdx.ComponentTypeApplication, name, version, found), nil
}

// Write writes a list as JSON. It has no date and no random number: the same contents
// give the same bytes.
func Write(file string, bom *cdx.BOM) error {
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("writing a list of contents: %w", err)
	}
	err = cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(bom)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing the list of contents %s: %w", file, err)
	}
	return nil
}

// bom puts components in order, each once.
func bom(kind cdx.ComponentType, name, version string, components []cdx.Component) *cdx.BOM {
	slices.SortFunc(components, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	components = slices.CompactFunc(components, func(a, b cdx.Component) bool { return a.BOMRef == b.BOMRef })
	list := cdx.NewBOM()
	list.Metadata = &cdx.Metadata{Component: &cdx.Component{
		BOMRef: name + "@" + version, Type: kind, Name: name, Version: version,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}}
	list.Components = &components
	return list
}

// library is a component that a package URL names.
func library(kind, namespace, name, version string, qualifiers map[string]string) cdx.Component {
	url := packageurl.NewPackageURL(kind, namespace, name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
	if namespace != "" && kind != packageurl.TypeDebian {
		name = namespace + "/" + name
	}
	return cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: url}
}

// modules are those that were linked into a Go program, and the standard library.
func modules(program io.ReaderAt) ([]cdx.Component, error) {
	info, err := buildinfo.Read(program)
	if err != nil {
		return nil, err
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	components := []cdx.Component{library(packageurl.TypeGolang, "", "stdlib", goVersion, nil)}
	for _, module := range info.Deps {
		components = append(components, moduleOf(module))
	}
	return components, nil
}

func moduleOf(module *debug.Module) cdx.Component {
	if module.Replace != nil {
		module = module.Replace
	}
	namespace, name := "", module.Path
	if i := strings.LastIndex(module.Path, "/"); i >= 0 {
		namespace, name = module.Path[:i], module.Path[i+1:]
	}
	return library(packageurl.TypeGolang, namespace, name, module.Version, nil)
}
