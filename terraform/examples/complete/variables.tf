variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "conjur_account" {
  description = "The Conjur account."
  type        = string
}

variable "conjur_url" {
  description = "Where Conjur answers."
  type        = string
}

variable "conjur_ca_file" {
  description = "The certificates that Conjur may show, as a PEM file."
  type        = string
}

variable "authn_iam" {
  description = "The service id of Conjur's authn-iam; without it, operators seal API keys into the bucket."
  type        = string
  default     = null
}

variable "cidr" {
  description = "The instances' networks, as Conjur sees them."
  type        = list(string)
  default     = ["10.0.0.0/16"]
}

variable "period" {
  description = "Minutes between two tokens."
  type        = number
  default     = 240
}

variable "package" {
  description = "The zip with imprint-rotator as bootstrap."
  type        = string
}

variable "architecture" {
  description = "What the package was built for: x86_64 or arm64."
  type        = string
  default     = "x86_64"
}

variable "administrator_arns" {
  description = "Who administers the key and the configuration; whoever applies this is one of them."
  type        = list(string)
}

variable "operator_arns" {
  description = "Who seals logins and runs the rotator's commands."
  type        = list(string)
  default     = []
}

variable "image_id" {
  description = "An image with the agent in it."
  type        = string
}

variable "force_destroy" {
  description = "Whether the bucket goes with all that is in it."
  type        = bool
  default     = false
}
