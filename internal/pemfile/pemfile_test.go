package pemfile_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/pemfile"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

func bundle() [3]string {
	var all [3]string
	for i, name := range []string{"one", "two", "three"} {
		all[i] = string(authtest.NewAuthority(name, time.Now()).PEM())
	}
	return all
}

func lines(text string) int { return strings.Count(text, "\n") }

func wantError(t *testing.T, err error, prefix, file string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), prefix) {
		t.Errorf("the error is %v, want %q", err, prefix)
		return
	}
	for line := range strings.Lines(file) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
			t.Errorf("the error %q quotes the file", err)
		}
	}
}

func TestGoodBundles(t *testing.T) {
	all := bundle()
	whole := all[0] + all[1] + all[2]
	for name, text := range map[string]string{
		"as it is":                 whole,
		"no final newline":         strings.TrimSuffix(whole, "\n"),
		"a byte order mark":        "\ufeff" + whole,
		"line ends of Windows":     strings.ReplaceAll(whole, "\n", "\r\n"),
		"spaces at the ends":       strings.ReplaceAll(whole, "\n", " \t\n"),
		"blank lines":              "\n" + all[0] + "\n\n" + all[1] + "\n" + all[2] + "\n\n",
		"text around":              "# Root\nsubject=CN = one\n" + all[0] + "Bag Attributes\n    friendlyName: two ----\n" + all[1] + "====\n" + all[2] + "the end",
		"one line of base64":       all[0] + all[1] + oneLine(all[2]),
		"other lengths of a line":  all[0] + all[1] + strings.Replace(all[2], "M", "M\n", 1),
		"letters that are no text": "\xe9 caf\xe9\n" + whole,
	} {
		certificates, err := pemfile.Certificates("ca.pem", []byte(text))
		if err != nil || len(certificates) != 3 || certificates[2].Subject.CommonName != "three" {
			t.Errorf("%s: Certificates returned %d certificates and the error %v", name, len(certificates), err)
		}
	}
}

func oneLine(text string) string {
	block, _ := pem.Decode([]byte(text))
	return "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(block.Bytes) + "\n-----END CERTIFICATE-----\n"
}

func TestBadBundles(t *testing.T) {
	all := bundle()
	second := lines(all[0]) + 1 // the line where the second certificate begins
	third := second + lines(all[1])
	at := func(line int, rest string) string { return "ca.pem:" + strconv.Itoa(line) + ": " + rest }
	damaged := func(change func(string) string) string { return all[0] + change(all[1]) + all[2] }
	replace := func(old, with string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, with, 1) }
	}
	block, _ := pem.Decode([]byte(all[1]))
	for name, test := range map[string]struct{ text, want string }{
		"no newline between two":   {strings.TrimSuffix(all[0], "\n") + all[1] + all[2], at(second-1, "the END line of a block and the BEGIN line of the next")},
		"a byte order mark inside": {all[0] + "\ufeff" + all[1] + all[2], at(second, "BEGIN must be alone on its line")},
		"UTF-16":                   {"\xff\xfe-\x00-\x00", at(1, "the file is encoded as UTF-16")},
		"not a base64 character":   {damaged(replace("\nMII", "\nM*I")), at(second+1, "a character that is not base64: the block that begins in line "+strconv.Itoa(second))},
		"a character of two bytes": {damaged(replace("\nMII", "\nMIé")), at(second+1, "a character that is not base64")},
		"another character":        {damaged(replace("\nMII", "\nNII")), at(second, "the block decodes, but is not a valid X.509 certificate")},
		"a character is missing":   {damaged(replace("\nMII", "\nMI")), at(second, "the base64 of the block is incomplete")},
		"a line is missing":        {damaged(dropLine(2)), at(second, "")},
		"BEGIN is missing":         {damaged(dropLine(0)), at(third-2, "an END line without its BEGIN line")},
		"END is missing":           {damaged(dropLine(lines(all[1]) - 1)), at(second, "line "+strconv.Itoa(third-1)+" has five dashes and is not the END line")},
		"END of another type":      {damaged(replace("END CERTIFICATE", "END X509 CRL")), at(second, "line "+strconv.Itoa(third-1)+" has five dashes and is not the END line")},
		"END with a dash less":     {damaged(replace("-----END CERTIFICATE-----", "-----END CERTIFICATE----")), at(second, "line "+strconv.Itoa(third-1)+" has five dashes and is not the END line")},
		"END with few dashes":      {damaged(replace("-----END CERTIFICATE-----", "----END CERTIFICATE----")), at(second, "line "+strconv.Itoa(third)+" has five dashes and is not the END line")},
		"BEGIN with a dash less":   {damaged(replace("CERTIFICATE-----\n", "CERTIFICATE----\n")), at(second, "BEGIN must be alone on its line")},
		"BEGIN misspelt":           {damaged(replace("-----BEGIN", "-----BEGN")), at(second, "a line with five dashes that is not a BEGIN line")},
		"BEGIN with few dashes":    {damaged(replace("-----BEGIN CERTIFICATE-----", "----BEGIN CERTIFICATE----")), at(third-1, "an END line without its BEGIN line")},
		"BEGIN indented":           {damaged(func(text string) string { return "  " + text }), at(second, "BEGIN must be alone on its line")},
		"END indented":             {damaged(replace("-----END", "  -----END")), at(second, "line "+strconv.Itoa(third-1)+" has five dashes")},
		"lower case":               {damaged(strings.ToLower), at(second, "a line with five dashes that is not a BEGIN line")},
		"one line of all":          {strings.ReplaceAll(all[0], "\n", "\r"), at(1, "BEGIN must be alone on its line")},
		"cut off in a line":        {all[0] + all[1] + all[2][:len(all[2])/2], at(third, "the block has no END line: the file is cut off")},
		"cut off after BEGIN":      {all[0] + "-----BEGIN CERTIFICATE-----\n", at(second, "the block has no END line: the file is cut off")},
		"cut off in BEGIN":         {all[0] + "-----BEGIN CERTIF", at(second, "BEGIN must be alone on its line")},
		"no base64":                {all[0] + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", at(second, "the base64 of the block is incomplete")},
		"data after the base64":    {damaged(replace("\n-----END", "\nQUJD\n-----END")), at(second, "")},
		"data after the DER":       {all[0] + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: append(bytes.Clone(block.Bytes), 0)})), at(second, "the block decodes, but is not a valid X.509 certificate")},
		"headers":                  {all[0] + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"A": "b"}, Bytes: block.Bytes})), at(second, "the certificate has header lines")},
		"OpenSSL's trusted":        {all[0] + string(pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: block.Bytes})), at(second, "expected a CERTIFICATE, found TRUSTED CERTIFICATE")},
		"a type without a name":    {"-----BEGIN -----\nQUJD\n-----END -----\n", at(1, "BEGIN must be alone on its line")},
		"an unknown type":          {"-----BEGIN canary-----\nQUJD\n-----END canary-----\n", at(1, "expected a CERTIFICATE, found a block of another type")},
		"nothing":                  {"", "ca.pem: the file has no certificate in PEM"},
		"text alone":               {"canary\n", "ca.pem: the file has no certificate in PEM"},
		"DER":                      {string(block.Bytes), "ca.pem: the file has no certificate in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			certificates, err := pemfile.Certificates("ca.pem", []byte(test.text))
			if certificates != nil {
				t.Errorf("%d certificates are returned with an error", len(certificates))
			}
			wantError(t, err, test.want, test.text)
		})
	}
}

// dropLine returns a function that removes a line, counted from 0, from a text.
func dropLine(number int) func(string) string {
	return func(text string) string {
		all := strings.SplitAfter(text, "\n")
		return strings.Join(append(all[:number:number], all[number+1:]...), "")
	}
}

func TestKeys(t *testing.T) {
	authority := authtest.NewAuthority("ca", time.Now())
	own, others := authority.IssueLoopback(), authority.IssueLoopback()
	certificates := []*x509.Certificate{own.Leaf, authority.Certificate}
	key := string(authtest.KeyPEM(own))
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	for name, text := range map[string]string{
		"alone": key, "a byte order mark": "\ufeff" + key, "parameters in front": parameters + key,
	} {
		pair, err := pemfile.KeyPair(certificates, "my.key", []byte(text))
		if err != nil || len(pair.Certificate) != 2 || pair.Leaf == nil || pair.PrivateKey == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	block, _ := pem.Decode([]byte(key))
	for name, test := range map[string]struct{ text, want string }{
		"nothing":        {"", "my.key: the file has no private key in PEM"},
		"another's":      {string(authtest.KeyPEM(others)), "my.key:1: the private key is damaged, of an unsupported kind, or does not belong"},
		"two":            {key + key, "my.key:" + strconv.Itoa(lines(key)+1) + ": a second private key"},
		"a certificate":  {string(authority.PEM()) + key, "my.key:1: expected a PRIVATE KEY, found CERTIFICATE"},
		"parameters":     {parameters, "my.key: the file has no private key in PEM"},
		"escaped":        {strings.ReplaceAll(key, "\n", `\n`), `my.key:1: the text has \n in place of its line breaks`},
		"cut off":        {key[:len(key)/2], "my.key:1: the block has no END line"},
		"encrypted":      {string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes})), "my.key:1: the private key is encrypted"},
		"encrypted once": {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: block.Bytes})), "my.key:1: the private key is encrypted"},
		"no key inside":  {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})), "my.key:1: the private key is damaged"},
	} {
		pair, err := pemfile.KeyPair(certificates, "my.key", []byte(test.text))
		if pair.PrivateKey != nil {
			t.Errorf("%s: a key is returned with an error", name)
		}
		wantError(t, err, test.want, test.text)
	}
}

// FuzzPEM compares the parsed blocks with the result of encoding/pem, and checks that no block of
// an accepted file is left out.
func FuzzPEM(f *testing.F) {
	all := bundle()
	f.Add([]byte(all[0] + all[1]))
	f.Add([]byte("\ufeff" + strings.ReplaceAll(all[0], "\n", "\r\n")))
	f.Add([]byte(strings.TrimSuffix(all[0], "\n") + all[1]))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nA: b\n\nQUJD\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = pemfile.KeyPair(nil, "f", data)
		certificates, err := pemfile.Certificates("f", data)
		if (err == nil) != (len(certificates) > 0) {
			t.Fatalf("%d certificates were returned, and the error %v", len(certificates), err)
		}
		if err != nil {
			return
		}
		if begins := bytes.Count(data, []byte("-----BEGIN ")); begins != len(certificates) {
			t.Errorf("%d certificates were returned for %d blocks", len(certificates), begins)
		}
		rest := bytes.TrimPrefix(data, []byte("\ufeff"))
		for i, certificate := range certificates {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil || !bytes.Equal(block.Bytes, certificate.Raw) {
				t.Fatalf("certificate %d differs from the certificate that encoding/pem decodes", i+1)
			}
		}
	})
}
