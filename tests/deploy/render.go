// Renders the templates of a chart as Helm does, with the same template language and functions, but
// strictly: a value that is not there is an error.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run render.go CHART < given.json
//
// Reads {"Values": …, "Release": …, "Chart": …} and writes {template: text}. Go and the libraries are
// Debian's: golang-go, golang-github-masterminds-sprig-dev, golang-gopkg-yaml.v3-dev.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

// Files are those of the chart that are no templates.
type Files struct{ folder string }

// Get is the text of a file.
func (files Files) Get(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(files.folder, name))
	return string(text), err
}

// Glob has the files of a pattern, by their names within the chart.
func (files Files) Glob(pattern string) (Found, error) {
	names, err := filepath.Glob(filepath.Join(files.folder, pattern))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no file is called %s", pattern)
	}
	return Found(names), err
}

// Found are files by their paths.
type Found []string

// AsConfig is what a ConfigMap has of them: base names and texts, as YAML.
func (found Found) AsConfig() (string, error) {
	texts := map[string]string{}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		texts[filepath.Base(path)] = string(text)
	}
	return toYAML(texts)
}

func toYAML(value any) (string, error) {
	text, err := yaml.Marshal(value)
	return strings.TrimSuffix(string(text), "\n"), err
}

func required(message string, value any) (any, error) {
	if value == nil || value == "" {
		return nil, errors.New(message)
	}
	return value, nil
}

func render(folder string, given map[string]any) (map[string]string, error) {
	all := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	// What a template may not know: it would render otherwise elsewhere.
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["toYaml"] = toYAML
	functions["required"] = required
	functions["include"] = func(name string, data any) (string, error) {
		var text strings.Builder
		err := all.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	all.Funcs(functions)
	paths, err := filepath.Glob(filepath.Join(folder, "templates", "*"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if _, err := all.New(filepath.Base(path)).Parse(string(text)); err != nil {
			return nil, err
		}
	}
	given["Files"] = Files{folder}
	rendered := map[string]string{}
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var text strings.Builder
		if err := all.ExecuteTemplate(&text, name, given); err != nil {
			return nil, err
		}
		rendered[name] = text.String()
	}
	return rendered, nil
}

func main() {
	given := map[string]any{}
	err := json.NewDecoder(os.Stdin).Decode(&given)
	var rendered map[string]string
	if err == nil {
		rendered, err = render(os.Args[1], given)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(rendered)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
