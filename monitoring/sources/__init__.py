"""What is asked, a part of the deployment a file."""
