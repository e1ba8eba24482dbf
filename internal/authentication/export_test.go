package authentication

// CertificateName returns the name of a caller by a certificate that need not be signed.
var CertificateName = certificateName
