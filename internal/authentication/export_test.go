package authentication

// CertificateName returns the caller's name that a certificate contains, without verifying the
// certificate.
var CertificateName = certificateName

// MaxAge returns how long the keys in an answer may be used, according to the headers of the
// answer.
var MaxAge = maxAge
