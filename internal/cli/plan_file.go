// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kjson "sigs.k8s.io/json"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// mostInput is how large a file may be.
const mostInput = 16 << 20

// manifest is one ConnectionPool of a file, and where it stands.
type manifest struct {
	file string
	node *yaml.Node
	pool poolv1.ConnectionPool
	// spec is as it is written: a 0 that a pool leaves out is none to the API server.
	spec map[string]any
}

// readManifests reads the ConnectionPools of a file, or of the input where it is "-".
// Objects of other kinds are none of ours.
func readManifests(file string, in io.Reader) ([]manifest, error) {
	data, err := readInput(file, in)
	if err != nil {
		return nil, err
	}
	if file == "-" {
		file = "input"
	}
	nodes, err := documents(data)
	if err != nil {
		return nil, usageError("%s: %w", file, err)
	}
	var found []manifest
	var faults []error
	for _, node := range nodes {
		m := manifest{file: file, node: node}
		if !m.isPool() {
			continue
		}
		faults = append(faults, m.decode()...)
		found = append(found, m)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, usageError("%w", err)
	}
	if len(found) == 0 {
		return nil, usageError("%s holds no ConnectionPool of %s", file, poolv1.SchemeGroupVersion)
	}
	return found, nil
}

func readInput(file string, in io.Reader) ([]byte, error) {
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, usageError("%w", err)
		}
		defer opened.Close()
		in = opened
	}
	data, err := io.ReadAll(io.LimitReader(in, mostInput+1))
	if err != nil {
		return nil, usageError("reading %s: %w", file, err)
	}
	if len(data) > mostInput {
		return nil, usageError("%s is larger than %d MiB: that is no file of ConnectionPools", file, mostInput>>20)
	}
	return data, nil
}

// documents are the objects of a YAML or JSON stream, those of Lists one by one.
func documents(data []byte) ([]*yaml.Node, error) {
	var nodes []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nil, err
		}
		for _, node := range document.Content {
			if items := child(node, "items"); items != nil && textOf(child(node, "kind")) != "ConnectionPool" {
				nodes = append(nodes, items.Content...)
				continue
			}
			nodes = append(nodes, node)
		}
	}
}

func (m *manifest) isPool() bool {
	return textOf(child(m.node, "kind")) == "ConnectionPool" &&
		strings.HasPrefix(textOf(child(m.node, "apiVersion")), poolv1.SchemeGroupVersion.Group+"/")
}

// decode reads the object. A field that the API does not have is an error: it would
// be dropped in silence.
func (m *manifest) decode() []error {
	if version := textOf(child(m.node, "apiVersion")); version != poolv1.SchemeGroupVersion.String() {
		return []error{m.at("apiVersion", fmt.Sprintf("%s is not known: use %s", version, poolv1.SchemeGroupVersion))}
	}
	var value any
	if err := m.node.Decode(&value); err != nil {
		return []error{fmt.Errorf("%s: %w", m.file, err)}
	}
	data, err := json.Marshal(value)
	if err != nil {
		return []error{m.at("", "keys must be strings")}
	}
	strict, err := kjson.UnmarshalStrict(data, &m.pool)
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return []error{m.at(kind.Field, fmt.Sprintf("%s is %s and must be %s", kind.Field, kind.Value, words(kind.Type)))}
	}
	if err != nil {
		return []error{m.at("", err.Error())}
	}
	var written struct {
		Spec map[string]any `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &written); err != nil {
		return []error{m.at("", err.Error())}
	}
	m.spec = written.Spec
	var faults []error
	for _, err := range strict {
		faults = append(faults, m.at(quoted(err.Error()), err.Error()))
	}
	if m.pool.Name == "" {
		faults = append(faults, m.at("metadata", "metadata.name is missing"))
	}
	return faults
}

// words is a type as people who write YAML call it.
func words(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.String:
		return "a text: put it in quotation marks"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	default:
		return t.String()
	}
}

// quoted is what stands in the first quotation marks of a text.
func quoted(text string) string {
	_, rest, _ := strings.Cut(text, `"`)
	path, _, _ := strings.Cut(rest, `"`)
	return path
}

// refused is what the API server says is faults with the object, each with its line.
func (m *manifest) refused(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return usageError("%w", m.at("", err.Error()))
	}
	var faults []error
	for _, cause := range status.Status().Details.Causes {
		field, text := cause.Field, cause.Message
		if strings.Contains(text, "some validation rules were not checked") {
			continue // They will be, once the others hold.
		}
		if field == "<nil>" { // A rule of the whole object.
			field = ""
		}
		faults = append(faults, m.at(field, strings.TrimPrefix(field+": "+text, ": ")))
	}
	return usageError("%w", errors.Join(faults...))
}

// at is an error that says where in the file its cause stands.
func (m *manifest) at(path, text string) error {
	return fmt.Errorf("%s:%d: %s", m.file, lineAt(m.node, path), text)
}

// lineAt is the line of a field, such as spec.databases[0].name, or of the nearest
// that is there around it.
func lineAt(node *yaml.Node, path string) int {
	line := node.Line
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		if i, err := strconv.Atoi(step); err == nil && node.Kind == yaml.SequenceNode && i < len(node.Content) {
			node = node.Content[i]
			line = node.Line
			continue
		}
		next := child(node, step)
		if next == nil {
			return line
		}
		line = keyOf(node, step).Line
		node = next
	}
	return line
}

func child(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// keyOf is the key of a child that is there.
func keyOf(node *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i]
		}
	}
	return node
}

func textOf(node *yaml.Node) string {
	if node == nil {
		return ""
	}
	return node.Value
}
